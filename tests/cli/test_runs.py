"""`sfumato runs`: what is listed, and that nothing is removed which is needed or was written by somebody else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import sfumato as product
from sfumato.runs.folder import RunFolder
from sfumato.runs.survey import PREVIEW, WRITTEN, excess, runs_in

from ..tiny import recipe_of, train_run, write_pictures
from .test_commands import Sfumato, sfumato  # noqa: F401 (fixture)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    recipe = recipe_of(write_pictures(root / "pictures"))
    return train_run(root / "trained", recipe, (32, 64, 96))


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs" / "a b"))


def test_runs_are_listed_with_their_state(sfumato: Sfumato, run: Path) -> None:  # noqa: F811
    broken = Path(shutil.copytree(run, run.parent / "broken"))
    (broken / "recipe.yaml").write_text("{")
    (run.parent / "no run").mkdir()
    answer = sfumato("runs", "list", "--json")
    rows = {Path(row["path"]).name: row for row in answer.json()["runs"]}
    assert {name: row["state"] for name, row in rows.items()} == {"a b": "finished", "broken": "unreadable"}
    assert (rows["a b"]["images"], rows["a b"]["total"], rows["a b"]["checkpoints"]) == (96, 96, 3)
    assert rows["a b"]["bytes"] == sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
    assert "96 of 96 images" in sfumato("runs").err
    with RunFolder(run).hold():
        assert [each.state for each in runs_in(run)] == ["running"]
    sfumato("runs", "show", "a b")
    shown = sfumato("runs", "show", "a b", "--json")
    assert "sfumato sample 'runs/a b'" in shown.err
    assert shown.json()["losses"]["report"] > 0


def test_a_cleaned_run_draws_the_same_and_goes_on(sfumato: Sfumato, run: Path) -> None:  # noqa: F811
    before = product.load(run).sample(2, seed=3)
    (run / "checkpoints" / ".000000128.part").mkdir()
    (run / "checkpoints" / ".000000128.part" / "model.safetensors").write_bytes(b"cut short")
    refused = sfumato("runs", "clean", "a b")
    assert (refused.status, "--yes" in refused.err) == (2, True)
    assert len(list((run / "checkpoints").iterdir())) == 4
    freed = sfumato("runs", "clean", "a b", "--yes", "--json").json()["freed"]
    assert freed["runs/a b"] > 0
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["000000096"]
    assert torch.equal(product.load(run).sample(2, seed=3), before)
    product.train(run, ["train.images=128"])
    assert RunFolder(run).events("start")[-1]["images"] == 96


def test_a_damaged_newest_checkpoint_keeps_the_one_before(sfumato: Sfumato, run: Path) -> None:  # noqa: F811
    (run / "checkpoints" / "000000096" / "model.safetensors").write_bytes(b"damaged")
    sfumato("runs", "clean", run, "--yes")
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["000000064", "000000096"]


def test_a_removed_run_leaves_what_is_not_ours(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:  # noqa: F811
    away = tmp_path / "away"
    away.mkdir()
    (away / "thesis.txt").write_text("mine")
    (run / "checkpoints" / "000000001").symlink_to(away)
    assert sfumato("runs", "clean", run, "--yes").status == 0
    assert (run / "checkpoints" / "000000001").is_symlink()
    (run / "samples").mkdir(exist_ok=True)
    (run / "samples" / "kept.png").write_text("mine")
    for name in ("notes.txt", "README.md", "adapter_model.safetensors"):  # the last two only a tuning writes
        (run / name).write_text("mine")
    answer = sfumato("runs", "rm", run, "--yes", "--json")
    left = [Path(file) for file in answer.json()["left"][str(run)]]
    assert sorted(path.name for path in left) == [
        "000000001",
        "README.md",
        "adapter_model.safetensors",
        "kept.png",
        "notes.txt",
    ]
    assert (away / "thesis.txt").read_text() == "mine"
    assert all(path.read_text() == "mine" for path in run.rglob("*") if path.is_file())


def test_all_that_a_run_holds_is_removed(sfumato: Sfumato, run: Path) -> None:  # noqa: F811
    known = {"checkpoints", "samples", "recipe.yaml", ".lock", *WRITTEN}
    assert {path.name for path in run.iterdir()} <= known
    assert all(PREVIEW.fullmatch(path.name) for path in (run / "samples").glob("*"))
    assert sfumato("runs", "rm", run, "--yes").status == 0
    assert not run.exists()
    assert sfumato("runs", "rm", run, "--yes").status == 2


def test_a_tuning_keeps_what_it_chooses_from(run: Path) -> None:
    """Until a step is chosen every checkpoint is a candidate, and then the chosen one is kept beside the newest."""
    recipe = RunFolder(run).recipe()
    (run / "recipe.yaml").write_text(recipe.model_copy(update={"task": "tune"}).dump())
    (run / "prior.safetensors").write_bytes(b"outputs")
    (run / "checkpoints" / ".000000128.part").mkdir()
    assert [path.name for path in excess(run)] == [".000000128.part"]
    (run / "card.json").write_text(json.dumps({"step": 32 // recipe.train.batch}))
    assert [path.name for path in excess(run)] == ["000000064", ".000000128.part", "prior.safetensors"]


def test_a_folder_in_use_stays(sfumato: Sfumato, run: Path) -> None:  # noqa: F811
    with RunFolder(run).hold():
        for words in ("clean", "rm"):
            assert sfumato("runs", words, run, "--yes").status == 75
    assert len(list((run / "checkpoints").iterdir())) == 3
