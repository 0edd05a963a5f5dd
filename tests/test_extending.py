"""docs/extending.md does what it says; and what goes wrong with things of one's own is one line."""

# ruff: noqa: F811 (fixtures)
from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sfumato as face
from sfumato import registry
from sfumato.errors import UserError
from sfumato.models.named import net_of, sampler_of, schedule_of
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.recipe import build
from sfumato.recipe.sections import Net, Noise, Sample
from sfumato.runs.folder import RunFolder

from .cli.test_commands import Sfumato, sfumato  # noqa: F401
from .models.test_ddpm import pipeline
from .tiny import write_pictures

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks() -> dict[str, str]:
    """The page's blocks by the file that their first line names; commands under ""."""
    found: dict[str, str] = {}
    for _, text in BLOCK.findall(PAGE.read_text("utf-8")):
        name = text.splitlines()[0].removeprefix("# ") if text.startswith("# ") else ""
        found[name] = found.get(name, "") + text
    return found


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the page's package and recipe, nothing of which has been imported or allowed."""
    monkeypatch.delenv(registry.PLUGINS, raising=False)
    monkeypatch.setattr(registry, "_trusted", set())
    monkeypatch.setattr(registry, "_things", {kind: dict(each) for kind, each in registry._things.items()})
    for name, text in blocks().items():
        if name:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in ("mine", "broken", "loose", "plug")]:
        del sys.modules[name]


def test_the_page_trains_samples_judges_and_goes_on(
    sfumato: Sfumato, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(mine / "ddpm")
    folder = write_pictures(mine / "pictures", 40)
    Image.open(next(folder.rglob("*.png"))).save(mine / "noisy.png")
    commands = blocks()[""].splitlines()
    assert len(commands) >= 5
    for command in commands:
        monkeypatch.setattr(registry, "_trusted", set())  # as in a process of its own
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            assert sfumato("sample", "runs/mine", "--label", "across").status == 2
            monkeypatch.setenv(name, value)
            continue
        program, *words = command.split()
        assert program == "sfumato"
        answer = sfumato(*words)
        assert answer.status == 0, (command, answer.err)
    run = RunFolder(mine / "runs" / "mine")
    assert [event["images"] for event in run.events("end")] == [512, 1024]
    assert (run.recipe().net.kind, run.recipe().net.options) == ("mine.nets:Small", {"width": 16})
    report = json.loads((mine / "runs" / "mine" / "report.json").read_text("utf-8"))
    assert (report["features"], report["n"]) == ("mine.features:colours", 16)
    assert report["sample"]["evaluations"] == 12
    assert list(report["metrics"]) == ["coverage", "mine.metrics:spread"]
    assert "mine.metrics:spread" in (mine / "runs" / "mine" / "report.html").read_text("utf-8")
    assert (mine / "clean.png").is_file()
    monkeypatch.setattr(registry, "_trusted", set())
    model = face.load("runs/mine")
    assert type(model.net).__module__ == "mine.nets"
    pictures = model.sample(4, texts=["across", "along"], sampling=face.Sampling(steps=12))
    assert pictures[0].float().std() > 5
    assert not torch.equal(
        model.sample(1, texts=["along"], sampling=face.Sampling(steps=12)), pictures[:1]
    )  # the label counts


def test_a_run_goes_on_bit_by_bit(sfumato: Sfumato, mine: Path) -> None:
    quick = ("train.precision=fp32", "train.decay=none")
    assert sfumato("train", "mine.yaml", "--out", "a", "train.images=64", *quick).status == 0
    assert sfumato("train", "mine.yaml", "--out", "a", "train.images=128", *quick).status == 0
    assert sfumato("train", "mine.yaml", "--out", "b", "train.images=128", *quick).status == 0
    a, b = (face.load(name).net.state_dict() for name in ("a", "b"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_short_name(mine: Path) -> None:
    space = runpy.run_path(str(mine / "short.py"))
    assert space["pictures"].shape == (2, 3, 32, 32)
    with pytest.raises(ValueError, match="choose another name"):
        face.register("sampler", "midpoint", "mine.samplers:other")
    with pytest.raises(ValueError, match="choose another name"):
        face.register("sampler", "ddim", space["midpoint"])
    with pytest.raises(ValueError, match="neither a function"):
        face.register("sampler", "new", "no colon")
    with pytest.raises(ValueError, match="one of sampler, schedule"):
        face.register("samplers", "new", space["midpoint"])  # type: ignore[arg-type]


def test_denoisers_that_others_trained(mine: Path) -> None:
    space = runpy.run_path(str(mine / "others.py"))
    drawn = space["model"].sample(64, sampling=face.Sampling(sampler="heun", steps=60, clip=False)).double() / 127.5 - 1
    assert abs(float(drawn.mean())) < 0.01
    cut = torch.linspace(-4, 4, 8001, dtype=torch.float64)  # Gaussian of 0.5, cut at black and white
    weight = (-cut.square() / 2).exp()
    spread = ((0.5 * cut).clamp(-1, 1).square() * weight).sum() / weight.sum()
    assert float(drawn.square().mean()) == pytest.approx(float(spread), rel=0.02)
    assert np.asarray(space["clean"]).shape == (16, 3, 32, 32)


def test_a_package_that_registers_names(sfumato: Sfumato, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine / "plug.py").write_text("import sfumato\nsfumato.register('sampler', 'half', 'mine.samplers:midpoint')\n")
    answer = sfumato("sample", "cifar10", "-n", 1, "--steps", 2, "--sampler", "half")
    assert answer.status == 2
    assert "no sampler named 'half'" in answer.err
    monkeypatch.setenv(registry.PLUGINS, "plug")
    assert sfumato("sample", "cifar10", "-n", 1, "--steps", 2, "--sampler", "half").status == 0


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("net.kind=nowhere.nets:Small", "the network nowhere.nets:Small: nowhere.nets cannot be imported"),
        ("net.kind=mine.nets:Smal", "mine.nets has no function or class Smal of its own"),
        ("net.kind=mine.nets:PictureNet", "mine.nets has no function or class PictureNet of its own"),
        (
            "net.kind=loose:anything",
            "net.kind=loose:anything gives a dict, which is no sfumato.nets.net.PictureNet",
        ),
        ("net.options.wide=3", "net.options: Small: got an unexpected keyword argument 'wide'; it takes shape"),
        ("sample.sampler=broken:go", "broken fails when it is imported (ZeroDivisionError: division by zero)"),
        ("sample.options.a=1", "sample.options: midpoint: got an unexpected keyword argument 'a'"),
        ("data.options.number=3", "data.options: Stripes: got an unexpected keyword argument 'number'"),
        ("options.strength=3", "options: Robust: got an unexpected keyword argument 'strength'"),
        ("noise.schedule=mine.schedules:Odd", "mine.schedules has no function or class Odd of its own"),
        ("noise.shift=2", "noise.shift is of the discrete schedules"),
        (
            "judge.metrics=[mine.metrics:spread,mine.metrics:far]",
            "no function or class far of its own",
        ),
        ("judge.metrics=[coverag]", "judge.metrics.0: no metric named 'coverag'; did you mean coverage?"),
        ("judge.features=mine.features:grey", "mine.features has no function or class grey of its own"),
        ("task=mine.tasks:Robus", "mine.tasks has no function or class Robus of its own"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_trained(
    sfumato: Sfumato, mine: Path, override: str, reason: str
) -> None:
    (mine / "broken.py").write_text("1 / 0\n")
    (mine / "loose.py").write_text("def anything(**options): return options\n")
    answer = sfumato("train", "mine.yaml", override)
    assert answer.status == 2, answer.err
    assert reason in answer.err
    assert "Traceback" not in answer.err
    assert not (mine / "runs").exists()


def test_a_file_alone_starts_no_code(sfumato: Sfumato, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = ("train.images=32", "sample.steps=1")
    assert sfumato("train", "mine.yaml", *quick).status == 0
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]
    for allowed in ("", "min", "mine.samplers", "other, mines"):
        monkeypatch.setattr(registry, "_trusted", set())
        monkeypatch.setenv(registry.PLUGINS, allowed)
        for words in (("sample", "runs/mine"), ("judge", "runs/mine"), ("train", "runs/mine", "train.images=64")):
            answer = sfumato(*words)
            assert answer.status == 2
            assert "SFUMATO_PLUGINS=mine set in the environment" in answer.err
            assert answer.err.count("\n") == 1
    assert not any(name.startswith(("mine.nets", "mine.tasks")) for name in sys.modules)
    monkeypatch.setenv(registry.PLUGINS, "other, mine")
    assert sfumato("sample", "runs/mine", "-n", 1).status == 0
    assert sfumato("train", "runs/mine", "train.images=64").status == 0


@pytest.mark.parametrize("name", ["os:system", "subprocess:run", "sfumato.files:write_text", "sfumato.zoo:load"])
def test_a_name_in_a_file_reaches_nothing_that_is_there_anyway(mine: Path, name: str) -> None:
    for make in (
        lambda: sampler_of(Sample(sampler=name)),
        lambda: schedule_of(Noise(schedule=name)),
        lambda: net_of(Net(kind=name), (3, 8, 8), Vocabulary("none", [], 0)),
    ):
        with pytest.raises(UserError, match="code of another package"):
            make()


def test_what_is_imported_by_a_trusted_module_is_not_its_own(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine / "plug.py").write_text("from os import system\nfrom subprocess import run, Popen\n")
    monkeypatch.setenv(registry.PLUGINS, "plug")
    for name in ("system", "run", "Popen"):
        with pytest.raises(UserError, match="of its own"):
            registry.find("features", f"plug:{name}")


def test_options_of_what_comes_with_sfumato() -> None:
    gentle = schedule_of(Noise(schedule="linear", options={"last": 0.01}))
    assert gentle.path(1).sigma[0] < schedule_of(Noise(schedule="linear")).path(1).sigma[0]
    assert schedule_of(Noise(options={"rho": 1.0})).path(3).sigma.diff().diff()[0].abs() < 1e-9
    with pytest.raises(UserError, match=r"noise\.options: LogNormal: got an unexpected keyword argument 'first'"):
        schedule_of(Noise(options={"first": 1.0}))
    with pytest.raises(UserError, match=r"data\.options are arguments of a source of your own"):
        face.train(build({"data": {"source": str(PAGE.parent), "options": {"a": 1}}}))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_in_processes_of_their_own(mine: Path, environment: dict[str, str]) -> None:
    paths = os.pathsep.join([str(mine), str(Path(face.__file__).parent.parent)])
    inside = {**environment, "PYTHONPATH": paths}

    def status(*words: str, **more: str) -> int:
        command = [sys.executable, "-m", "sfumato", *words]
        return subprocess.run(command, cwd=mine, env=inside | more, capture_output=True).returncode

    assert status("train", "mine.yaml", "train.images=64") == 0
    assert status("sample", "runs/mine", "-n", "1", "--label", "along") == 2
    assert status("sample", "runs/mine", "-n", "1", "--label", "along", SFUMATO_PLUGINS="mine") == 0
    assert status("train", "runs/mine", "train.images=128") == 2
    assert status("train", "mine.yaml", "train.images=128") == 0
