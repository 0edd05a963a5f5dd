"""The public face: real functions that say what they take, examples that run, types, mistakes found at once."""

from __future__ import annotations

import doctest
import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sfumato
from sfumato.cli import tune as commands
from sfumato.lora.adapter import Shape, attach, taken
from sfumato.lora.formats import write_kohya
from sfumato.lora.named import WEIGHTS, weighted
from sfumato.models.bases import NAMES as BASES
from sfumato.models.sampling import Sampling
from sfumato.models.sd import pipeline as pipelines
from sfumato.progress import Phase

from .tiny import recipe_of, train_run, write_pictures
from .tuning.conftest import base, stirred
from .tuning.test_photos import scene

VERBS = ("train", "load", "sample", "judge", "compare", "denoise", "export", "merge", "tune")
NOT_READ = ("torch", "diffusers", "transformers", "accelerate", "peft", "datasets", "pyvips", "scipy", "skimage")
"""Libraries whose types a user's file does not need."""
USER = Path(__file__).parent / "a_users_file.py"
TYPOS = (
    "sfumato.load('mni')", "sfumato.load('mini', lora='nowhere.safetensors')", "sfumato.sample('mni')",
    "sfumato.sample('mini', 0)", "sfumato.sample('mini', sampling=sfumato.Sampling(sampler='eluer'))",
    "sfumato.sample('mini', sampling=sfumato.Sampling(strength=2))", "sfumato.sample('mini', init='nowhere.png')",
    "sfumato.train('cifar11')", "sfumato.train('cifar10', ['train.bach=3'])", "sfumato.train('cifar10', ['train.lr'])",
    "sfumato.denoise('nowhere.png')", "sfumato.denoise('a.png', sigma=2)", "sfumato.denoise('a.png', sigma='much')",
    "sfumato.denoise('a.png', 'phto')", "sfumato.denoise('a.png', strength=3)", "sfumato.judge('mni')",
    "sfumato.judge('mini', sampling=sfumato.Sampling(steps=0))", "sfumato.compare('mini', 'mni')",
    "sfumato.merge('nowhere', 'mini', 'out')", "sfumato.merge('a.png', 'mni', 'out')",
    "sfumato.merge([], 'mini', 'out')", "sfumato.export('mni', 'out')",
    "sfumato.export('mini', 'out', to='word')", "sfumato.export('mini', '.')", "sfumato.tune('nowhere', 'car')",
    "sfumato.tune('.', 'car', 'mni')", "sfumato.tune('.', 'car', preset='best')", "sfumato.tune('.', 'car', steps=0)",
    "sfumato.tune('.', 'car', preset=sfumato.Preset(overrides=['tune.rnk=3']))",
    "sfumato.sample('mini', 1, texts=['a', 'b'])",
    "sfumato.train('shapes', 'train.images=3')",
    "sfumato.tune('.', 'car', preset=sfumato.Preset(overrides='tune.rank=3'))",
    "sfumato.judge('mini', seed=-1)", "sfumato.judge('mini', n=2)", "sfumato.judge('mini', metrics=['nope'])",
    "sfumato.judge('mini', metrics='coverage')", "sfumato.judge('mini', features='nope')",
    "sfumato.judge('mini', features='nowhere.pt')", "sfumato.judge('mini', metrics=['nowhere:Metric'])",
    "sfumato.compare('mini', 'mini', seed=-1)", "sfumato.compare('mini', 'mini', n=3)",
    "sfumato.compare('mini', 'mini', features='nope')", "sfumato.sample('mini', seed=-1)",
    "sfumato.sample('mini', seed=0.5)", "sfumato.denoise('a.png', samples=1, seed=-1)",
    "sfumato.load('mini', device='gpu')", "sfumato.load('mini', device='')", "sfumato.load('mini', precision='int8')",
    "sfumato.load(3)", "sfumato.load(None)", "sfumato.sample(3)", "sfumato.judge(None)",
    "sfumato.train('')", "sfumato.load('')", "sfumato.sample('')", "sfumato.tune('.', 'car', '')",
    "sfumato.Preset(overrides='tune.rank=3')", "sfumato.Preset(overrides=3)", "sfumato.tune(['a.png'], 'car')",
    "sfumato.train('shapes', ['train.images=3', 3])", "sfumato.denoise(['a.png'])", "sfumato.sample('mini', texts=[3])",
    "sfumato.sample('mini', sampling=sfumato.Sampling(sampler='nowhere:Sampler'))",
    "sfumato.judge('mini', data='nowhere')", "sfumato.judge('mini', data=['a'])", "sfumato.judge('mini', features=3)",
    "sfumato.judge('mini', data='nowhere:Source')", "sfumato.judge('mini', metrics=[3])",
    "sfumato.export('mini', 'a.png/out')", "sfumato.export('mini', 'a.png', overwrite=True)",
    "sfumato.export('mini', 'b.safetensors', to='single', overwrite=True)", "sfumato.merge('a.png', 'mini', 'a.png/m')",
    "sfumato.denoise('a.png', sigma=[0.1, 0.2])", "sfumato.load('mini', lora='a.png')",
    "sfumato.load('mini', lora=['b.safetensors'])",
    "sfumato.denoise('a.png', sigma=__import__('numpy').zeros((2, 2)), samples=1)",
    "sfumato.load('mini', lora=('a.png', 0.8))", "sfumato.load('mini', lora=[('a.png', float('nan'))])",
)  # fmt: skip
COMMANDS = (
    "sample mni", "sample mini --sampler eluer", "sample mini --lora nowhere", "train cifar11",
    "train cifar10 train.bach=3", "denoise a.png -o b.png --sigma 2", "denoise a.png -o b.png --sigma much",
    "denoise a.png -o b.png -m phto", "judge mni", "judge mini --sampler eluer", "judge mini --task paint",
    "judge mini --task denoise --sigma 2",
    "compare mini mni", "merge nowhere --base mini --out m", "export mni --out m", "tune nowhere --noun car",
    "judge mini --features nope", "judge mini --metric nope", "compare mini mini --features nope",
    "judge mini --data nowhere", "judge mini --out a.png", "compare mini mini --out a.png", "demo --out a.png",
    "sample mini --size big", "sample mini --init nowhere.png", "sample mini --out a.png", "export mini --out a.png/m",
    "sample mini --film a.png/f.gif", "sample mini -n 1 --prompt a --prompt b", "merge a.png --base mini --out a.png/m",
    ("train", ""), ("sample", ""), "sample mini --lora a.png --lora-scale nan",
    "tune . --noun car --base mni", "tune . --noun car --preset best", "recipe cifar11",
)  # fmt: skip
HEAVY = "{'torch', 'diffusers', 'transformers', 'accelerate', 'datasets', 'matplotlib', 'peft'} & set(sys.modules)"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples find where they run: a base, a LoRA for it, a photo, a folder of photos."""
    root = tmp_path_factory.mktemp("face")
    model = base()
    pipelines.write(model, root / "base", half=False)
    attach(model.net, Shape(rank=2, alpha=4))
    stirred(model.net)
    write_kohya(taken(model.net), root / "car.safetensors", {"ss_base_model_version": "sd_v1"})
    scene(0, (33, 20)).save(root / "photo.png")
    (root / "photos").mkdir()
    for k in range(5):
        scene(k, (40, 40)).save(root / "photos" / f"{k}.png")
    return root


SLOW = ("judge", "compare")


@pytest.mark.parametrize("verb", [pytest.param(verb, marks=pytest.mark.slow if verb in SLOW else ()) for verb in VERBS])
def test_the_example_of_a_verb_runs(place: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.chdir(place)
    if verb != "train" and not (place / "runs").exists():
        run_example("train")
    run_example(verb)


def run_example(verb: str) -> None:
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(sfumato, verb), verb, globs={"sfumato": sfumato})
    assert example.examples
    told: list[str] = []
    assert doctest.DocTestRunner(verbose=False).run(example, out=told.append).failed == 0, "".join(told)


def test_help_shows_every_verb_with_its_signature_and_every_argument() -> None:
    page = pydoc.plain(pydoc.render_doc(sfumato))
    for verb in VERBS:
        function = getattr(sfumato, verb)
        assert inspect.isfunction(function)
        assert f"    {verb}(" in page
        for name, parameter in inspect.signature(function).parameters.items():
            assert f"        {name}: " in function.__doc__, f"{verb} does not describe {name}"
            assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            assert "Any" not in str(parameter.annotation)
        assert "Raises:" in function.__doc__
    assert set(VERBS) <= set(sfumato.__all__)
    assert {"Model", "Recipe", "Event", "Progress", "Stop", "UserError"} <= set(sfumato.__all__)


@pytest.mark.slow
def test_a_users_file_is_well_typed(tmp_path: Path) -> None:
    text = USER.read_text("utf-8")
    assert all(f"sfumato.{verb}(" in text for verb in VERBS)
    source = Path(sfumato.__file__).parent
    assert (source / "py.typed").is_file()
    settings = tmp_path / "mypy.ini"
    settings.write_text(
        f"[mypy]\nstrict = true\nfollow_imports = silent\nmypy_path = {source.parent}\ncache_dir = {tmp_path}\n"
        f"[mypy-{','.join(f'{each}.*' for each in NOT_READ)}]\nfollow_imports = skip\nignore_missing_imports = true\n"
    )
    words = [sys.executable, "-m", "mypy", "--config-file", str(settings), str(USER)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import sfumato\nsfumato.sample('mini', steps=3)\nsfumato.Sampling(steps='3')\n"
        "sfumato.denoise('a.png').picture.save('b.png')\nsfumato.load('mini').nothing\n"
    )
    done = subprocess.run([*words[:-1], str(bad)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert re.findall(r"bad.py:(\d): error", done.stdout) == ["2", "3", "4", "5"], done.stdout


def in_a_process(code: str, folder: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.splitlines()


def test_nothing_heavy_is_imported_with_the_package() -> None:
    assert in_a_process(f"import sys, sfumato; print({HEAVY})", Path.cwd()) == ["set()"]


def test_a_mistake_in_python_is_found_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a picture")
    (tmp_path / "b.safetensors").mkdir()
    lines = in_a_process(
        f"import sys, sfumato\nfor call in {TYPOS!r}:\n"
        f"    try: eval(call)\n"
        f"    except sfumato.UserError as error: print('ok' if not {HEAVY} else call, error)\n"
        f"    else: print('no error', call)",
        tmp_path,
    )  # fmt: skip
    assert [line for line in lines if not line.startswith("ok ")] == []
    assert len(lines) == len(TYPOS)


def test_a_mistake_in_a_command_is_found_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a picture")
    lines = in_a_process(
        f"import sys\nfrom sfumato import cli\nfor words in {COMMANDS!r}:\n"
        "    sys.argv = ['sfumato', *(words.split() if isinstance(words, str) else words)]\n"
        "    try: cli.main()\n"
        f"    except SystemExit as left: print('ok' if left.code == 2 and not {HEAVY} else words, left.code)",
        tmp_path,
    )  # fmt: skip
    assert [line for line in lines if not line.startswith("ok ")] == []
    assert len(lines) == len(COMMANDS)


def test_a_lora_is_laid_over_and_the_base_stays_as_it_is(place: Path) -> None:
    plain = sfumato.load(place / "base", precision="fp32")
    before = {name: value.clone() for name, value in plain.net.state_dict().items()}
    half, whole = (sfumato.load(plain, lora=[(place / "car.safetensors", weight)]) for weight in (0.5, 1.0))
    assert all(torch.equal(value, before[name]) for name, value in plain.net.state_dict().items())
    changed = 0
    for name, value in whole.net.state_dict().items():
        change = value - before[name]
        assert torch.allclose(half.net.state_dict()[name] - before[name], change / 2, atol=1e-6)
        changed += bool(change.any())
    assert changed > 4
    shared = {value.data_ptr() for value in plain.net.parameters()}
    assert sum(value.data_ptr() in shared for value in whole.net.parameters()) == len(before) - changed
    by_path = sfumato.load(place / "base", lora=place / "car.safetensors", precision="fp32")
    assert all(torch.equal(value, by_path.net.state_dict()[name]) for name, value in whole.net.state_dict().items())
    with pytest.raises(sfumato.UserError, match="is loaded already"):
        sfumato.load(plain, device="cpu")


def test_what_sampling_gives(place: Path) -> None:
    phases: list[tuple[str, int, int]] = []

    def see(event: sfumato.Event) -> None:
        if isinstance(event, Phase):
            phases.append((event.what, event.done, event.total))

    found = sfumato.sample(
        place / "base", texts=["a red car", ""], seed=5, sampling=Sampling(steps=2, negative="blue"), progress=see
    )
    assert (found.pictures.dtype, found.pictures.shape) == (np.uint8, (2, 16, 16, 3))
    assert (found.texts, found.seeds) == (("a red car", ""), (5, 6))
    assert found.settings.steps == 2
    assert any("an empty prompt" in line for line in found.warnings)
    assert [np.array_equal(np.asarray(image), each) for image, each in zip(found.images(), found.pictures, strict=True)]
    assert phases[:2] == [("loading", 0, 1), ("loading", 1, 1)]
    assert phases[-1] == ("sampling", 4, 4)
    again = sfumato.sample(
        sfumato.load(place / "base"), 1, texts="a red car", seed=5, sampling=Sampling(steps=2, negative="blue")
    )
    assert np.array_equal(again.pictures[0], found.pictures[0])


def test_a_listener_that_raises_ends_the_sampling(place: Path) -> None:
    def stop(event: sfumato.Event) -> None:
        if isinstance(event, Phase) and event.what == "sampling":
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        sfumato.sample(place / "base", 1, progress=stop)


@pytest.fixture(scope="module")
def cleaner(tmp_path_factory: pytest.TempPathFactory) -> sfumato.Model:
    root = tmp_path_factory.mktemp("cleaner")
    plain = {"kind": "plain", "channels": [8, 8], "blocks": 1, "stem": 2, "attention": None}
    recipe = recipe_of(write_pictures(root / "pictures"), "none", net=plain, train={"images": 32})
    return sfumato.load(train_run(root / "run", recipe.model_copy(update={"task": "denoise"}), (32,)))


def test_what_denoising_gives(place: Path, cleaner: sfumato.Model) -> None:
    image = scene(0, (33, 20))
    array = np.asarray(image)
    phases: list[str] = []
    of_file = sfumato.denoise(
        place / "photo.png", cleaner, 0.1, progress=lambda event: phases.append(getattr(event, "what", ""))
    )
    of_array = sfumato.denoise(array, cleaner, "0.1", samples=2, seed=3)
    of_image = sfumato.denoise(image, cleaner, np.float64(0.1))
    assert np.array_equal(of_file.picture, of_array.picture)
    assert np.array_equal(np.asarray(of_image.picture), of_array.picture)
    assert of_file.sigma == of_array.sigma == 0.1
    assert "tiles" in phases
    assert len(of_array.samples) == 2
    assert of_array.samples[0].shape == array.shape
    guessed = sfumato.denoise(array, cleaner)
    assert 0 < guessed.sigma < 1
    assert np.array_equal(sfumato.denoise(array, cleaner, guessed.sigma).picture, guessed.picture)
    two = sfumato.denoise(torch.from_numpy(array.transpose(2, 0, 1).copy())[None].repeat(2, 1, 1, 1), cleaner)
    assert np.shape(two.sigma) == (2,)
    with pytest.raises(sfumato.UserError, match="no single image"):
        two.image()
    assert np.array_equal(np.asarray(of_file.image()), of_file.picture)


@pytest.mark.parametrize(
    ("loras", "reason"),
    [
        (("car", 0.8), 'lora 0.8: .*: [("car/", 0.8)]'), ([("car",)], '[("car/", 0.8)]'),
        ([("car", "a")], '[("car/", 0.8)]'), ([("car", 1, 2)], '[("car/", 0.8)]'), (None, '[("car/", 0.8)]'),
        ([("car", float("nan"))], "its weight is nan"), ([("car", float("-inf"))], "its weight is -inf"),
        ("", "is not there"),
    ],
)  # fmt: skip
def test_loras_in_another_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loras: Any, reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "car").mkdir()
    (tmp_path / "car" / WEIGHTS).write_bytes(b"")
    with pytest.raises(sfumato.UserError, match=re.escape(reason).replace(r"\.\*", ".*")):
        weighted(loras)
    assert weighted(["car", ("car", np.float32(0.5)), ("car", -1)]) == [(Path("car"), w) for w in (1.0, 0.5, -1.0)]


def test_a_device_that_is_not_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(sfumato.UserError, match="device cuda: torch finds none of the kind"):
        sfumato.load(place / "base", device="cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(sfumato.UserError, match="device cuda:2: torch finds 2 of the kind"):
        sfumato.load(place / "base", device="cuda:2")
    assert sfumato.load(place / "base", device="cpu", precision="fp32").device == "cpu"


def test_models_that_are_loaded_are_compared_merged_and_exported(place: Path, tmp_path: Path) -> None:
    plain = sfumato.load(place / "base", precision="fp32")
    lora = place / "car.safetensors"
    merged = sfumato.merge(lora, plain, tmp_path / "merged", half=False)
    by_name = sfumato.merge(lora, place / "base", tmp_path / "by-name", half=False)
    ours, theirs = (sfumato.load(each.folder, precision="fp32").net.state_dict() for each in (merged, by_name))
    assert all(torch.equal(value, ours[name]) for name, value in theirs.items())
    assert sfumato.export(sfumato.load(place / "base", precision="bf16"), tmp_path / "exported").folder.is_dir()
    recipe = recipe_of(write_pictures(tmp_path / "pictures"), "none", train={"images": 32})
    model = sfumato.load(train_run(tmp_path / "run", recipe, (32,)))
    first, second = sfumato.compare(model, tmp_path / "run", n=4, sampling=Sampling(steps=1))
    assert first.verdict.fd.value == second.verdict.fd.value
    with pytest.raises(sfumato.UserError, match="named mni"):
        sfumato.compare(model, "mni")


def test_one_override_that_is_no_list_is_refused_with_the_list() -> None:
    with pytest.raises(sfumato.UserError, match=re.escape("give a list, as ['train.images=3']")):
        sfumato.train("shapes", "train.images=3")
    with pytest.raises(sfumato.UserError, match=re.escape("give a list, as ['tune.rank=3']")):
        sfumato.Preset(overrides="tune.rank=3")


def test_help_names_every_base() -> None:
    for text in (sfumato.load.__doc__, sfumato.tune.__doc__, inspect.getsource(commands.tune)):
        assert text
        assert all(name in text for name in BASES), text


def test_one_text_is_one_text_for_a_model_too(place: Path) -> None:
    model = sfumato.load(place / "base", precision="fp32")
    short = Sampling(steps=1)
    assert torch.equal(*(model.sample(1, texts=texts, sampling=short) for texts in ("a car", ["a car"])))
    with pytest.raises(sfumato.UserError, match="texts: 3 is no text"):
        model.sample(1, texts=[3])  # type: ignore[list-item]
