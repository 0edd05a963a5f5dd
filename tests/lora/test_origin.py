"""A LoRA made for another version of its base is refused by name, wherever it is used; others are not."""

# ruff: noqa: F811 (fixtures)
from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sfumato.errors import UserError
from sfumato.lora.adapter import Shape, attach, taken
from sfumato.lora.origin import BASE, DIGEST, Origin, check, origin
from sfumato.lora.verify import answer, verify
from sfumato.models.identity import Identity
from sfumato.models.latent import LatentModel
from sfumato.models.sd import pipeline as pipelines
from sfumato.models.words import words_of
from sfumato.recipe.recipe import build
from sfumato.tuning import artifact
from sfumato.zoo import load

from ..cli.test_commands import Sfumato, sfumato  # noqa: F401
from ..tuning.conftest import base, stirred
from ..tuning.test_photos import scene

OLD, NEW = Identity("mini", "0123456789ab"), Identity("mini", "ba9876543210")


def version(identity: Identity | None) -> LatentModel:
    model = base()
    model.identity, model.words = identity, words_of(["a red car on a road", "a blue house", "a small cat"])
    return model


def lora(folder: Path, identity: Identity | None, called: str = "mini") -> Path:
    """What a tuning leaves, for a base of that identity; the file in kohya's keys."""
    live: Any = version(identity)
    attach(live.net, Shape(rank=4))
    stirred(live.net)
    recipe = build({"name": "car", "task": "tune", "tune": {"base": called, "noun": "gizmo", "trigger": "fizzle"}})
    return artifact.write(taken(live.net), folder, recipe, live, 400, {})


def pipe(folder: Path, identity: Identity | None) -> Path:
    return pipelines.write(version(identity), folder, half=False)


@pytest.fixture
def files(tmp_path: Path) -> Callable[[Identity | None], list[Path]]:
    def made(identity: Identity | None) -> list[Path]:
        file = lora(tmp_path / "lora", identity)
        return [file, file.parent]

    return made


PROMPT = ("--prompt", "a fizzle gizmo", "-n", 1, "--steps", 1, "--json")


@pytest.mark.parametrize(
    ("made", "reason"),
    [(OLD, "an earlier mini (digest 0123456789ab)"), (None, "an earlier mini (it names no version)"),
     (Identity("maxi", "77"), "made for maxi (digest 77)")],
)  # fmt: skip
def test_a_lora_of_an_earlier_base_is_refused(
    made: Identity | None,
    reason: str,
    sfumato: Sfumato,
    tmp_path: Path,
    files: Callable[..., list[Path]],
) -> None:
    pipe(tmp_path / "pipe", NEW)
    for path in files(made):
        for words in (("sample", "pipe", "--lora", path, *PROMPT), ("merge", path, "--base", "pipe", "--out", "m")):
            said = sfumato(*words)
            assert said.status == 2
            assert said.err.count("\n") == 1
            assert reason in said.err
            assert "tune again on this one" in said.err
    assert not (tmp_path / "m").exists()


def test_refused_by_name_although_the_shapes_differ_too(tmp_path: Path) -> None:
    file = lora(tmp_path / "lora", OLD)
    tensors = {key.replace("lora_unet_", "lora_unet_old_"): value for key, value in load_file(file).items()}
    with safe_open(file, "pt") as opened:
        save_file(tensors, tmp_path / "a.safetensors", opened.metadata())
    from sfumato.lora.apply import over

    with pytest.raises(UserError, match="an earlier mini"):
        over(version(NEW), [(tmp_path / "a.safetensors", 1.0)])


@pytest.mark.slow
def test_the_same_base_takes_it_in_any_precision_merged_or_exported(
    sfumato: Sfumato,
    tmp_path: Path,
    files: Callable[..., list[Path]],
) -> None:
    pipe(tmp_path / "pipe", NEW)
    file, folder = files(NEW)
    assert sfumato("merge", file, "--base", "pipe", "--out", "merged").status == 0
    assert sfumato("export", "merged", "--out", "again").status == 0
    for model in ("pipe", "merged", "again"):
        for path in (file, folder):
            said = sfumato("sample", model, "--lora", path, *PROMPT)
            assert said.status == 0, said.err
            assert said.json()["warnings"] == []  # what the LoRA taught is known
    assert sfumato("sample", "merged", *PROMPT).json()["warnings"] == []
    assert "does not know 'fizzle', 'gizmo'" in sfumato("sample", "pipe", *PROMPT).json()["warnings"][0]


def test_a_base_of_another_program_and_a_lora_of_another_program_fit_by_shape(tmp_path: Path) -> None:
    file = lora(tmp_path / "lora", OLD)
    check(version(None), origin(file), "here")
    with safe_open(file, "pt") as opened:
        header = {key: value for key, value in opened.metadata().items() if key not in (BASE, DIGEST)}
    header["ss_sd_model_name"] = "v1-5-pruned.safetensors"
    save_file(load_file(file), tmp_path / "theirs.safetensors", header)
    check(version(NEW), origin(tmp_path / "theirs.safetensors"), "here")
    (tmp_path / "torn.safetensors").write_bytes(b"x" * 20)
    assert origin(tmp_path / "torn.safetensors") == origin(tmp_path / "gone") == Origin()


def test_a_folder_from_before_versions_names_its_base_in_pefts_settings(tmp_path: Path) -> None:
    folder = lora(tmp_path / "lora", NEW).parent
    weights = folder / "adapter_model.safetensors"
    save_file(load_file(weights), weights, {"format": "pt"})
    assert origin(folder) == Origin("mini")
    with pytest.raises(UserError, match="an earlier mini"):
        check(version(NEW), origin(folder), "here")


def test_a_proof_is_of_the_same_base(tmp_path: Path) -> None:
    file = lora(tmp_path / "lora", NEW)
    with pytest.raises(UserError, match="an earlier mini"):
        verify(answer(version(NEW), "a gizmo"), version(OLD), file.parent, file, "a gizmo")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, a base, and a tuning of it that ended, in one folder."""
    from typer.testing import CliRunner

    from sfumato.cli import app

    root = tmp_path_factory.mktemp("begun")
    (root / "photos").mkdir()
    for k in range(5):
        scene(k, (40, 40)).save(root / "photos" / f"{k}.png")
    pipe(root / "base", OLD)
    done = CliRunner().invoke(app, [str(word) for word in tuning(root)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return root


def tuning(root: Path) -> list[object]:
    return ["tune", root / "photos", "--noun", "gizmo", "--base", root / "base", "--rank", 4, "--trigger", "zarnu",
            "--out", root / "car", "--steps", 2, "train.batch=2", "train.lr=1e-2", "train.warmup=0"]  # fmt: skip


@pytest.mark.slow
def test_a_tuning_says_its_base_everywhere(begun: Path) -> None:
    for path in (begun / "car", begun / "car" / "car.safetensors"):
        assert origin(path) == Origin("mini", OLD.digest, "zarnu gizmo")
    (step,) = (begun / "car" / "checkpoints").iterdir()
    assert json.loads((step / "config.json").read_text())["base"] == OLD.to_json()
    assert load(begun / "car").warnings(["a zarnu gizmo"]) == load(step).warnings(["a zarnu gizmo"]) == []
    line = "base does not know 'gizmo': use a noun that it knows"
    assert json.loads((begun / "car" / "report.json").read_text())["warnings"] == [line]


@pytest.mark.slow
def test_a_tuning_names_a_noun_that_the_base_does_not_know(begun: Path, sfumato: Sfumato) -> None:
    words = ["x" if word == begun / "car" else word for word in tuning(begun)]
    said = sfumato(*words, "--dry-run", "--json")
    assert said.status == 0, said.err
    assert said.json()["warnings"] == ["base does not know 'gizmo': use a noun that it knows"]
    assert said.err.count("does not know 'gizmo'") == 1
    said = sfumato(*["cats" if word == "gizmo" else word for word in words], "--dry-run", "--json")
    assert said.json()["warnings"] == []


@pytest.mark.slow
@pytest.mark.parametrize("before", [OLD, None])
def test_a_tuning_begun_on_an_earlier_base_is_refused(
    before: Identity | None,
    begun: Path,
    sfumato: Sfumato,
    tmp_path: Path,
) -> None:
    root = shutil.copytree(begun, tmp_path / "copy")
    file = root / "car" / "data.json"
    facts = json.loads(file.read_text())
    assert facts.pop("base") == OLD.to_json()
    file.write_text(json.dumps(facts if before is None else {**facts, "base": before.to_json()}))
    recipe = (root / "car" / "recipe.yaml").read_text().replace(str(begun), str(root))
    (root / "car" / "recipe.yaml").write_text(recipe)
    shutil.rmtree(root / "base")
    pipe(root / "base", NEW)
    held = {path: path.read_bytes() for path in (root / "car").rglob("*") if path.is_file()}
    for more in ([], ["--dry-run"]):
        said = sfumato(*tuning(root), *more)
        assert said.status == 2
        assert said.err.count("\n") == 1
        assert "holds a tuning of an earlier base: choose another --out" in said.err
    assert held == {path: path.read_bytes() for path in (root / "car").rglob("*") if path.is_file()}
    for path in (root / "car", next((root / "car" / "checkpoints").iterdir())):
        settings = path / "adapter_config.json"
        for file in (settings, path / "config.json"):
            if file.is_file():
                file.write_text(file.read_text().replace(str(begun), str(root)))
        said = sfumato("sample", path, *PROMPT)
        assert said.status == 2
        assert said.err.count("\n") == 1


@pytest.mark.slow
def test_a_tuning_of_the_same_base_goes_on(begun: Path, sfumato: Sfumato) -> None:
    assert sfumato(*tuning(begun)).status == 0
