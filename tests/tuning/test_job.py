"""A tuning that is stopped in any of its phases goes on, and ends in the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sfumato
from sfumato.cli import app
from sfumato.cli.screen import Screen
from sfumato.models.sd import pipeline as pipelines
from sfumato.progress import Event, Phase, Save, Start, Stop, Stopped
from sfumato.tuning.job import TuneJob

from .conftest import base
from .test_photos import scene

FILES = ("adapter_model.safetensors", "adapter_config.json")
WORDS = (
    *("tune.rank=4", "tune.trigger=zarnu", "train.images=16", "train.save_images=8", "train.batch=4", "train.lr=1e-2"),
    "train.warmup=0",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, a base, and a tuning that nobody stopped."""
    root = tmp_path_factory.mktemp("job")
    (root / "photos").mkdir()
    for k in range(6):
        scene(k, (40, 40)).save(root / "photos" / f"{k}.png")
    pipelines.write(base(), root / "base", half=False)
    job_in(root, "alone").run()
    return root


def job_in(root: Path, name: str) -> TuneJob:
    return TuneJob(root / "photos", "car", str(root / "base"), overrides=WORDS, out=root / name)


def phase(what: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Phase) and event.what == what


MOMENTS: dict[str, Callable[[Event], bool]] = {
    "loading": phase("loading"),
    "prior": phase("outputs of the base for the prior"),
    "steps": lambda event: isinstance(event, Save) and event.images >= 8,
    "choosing": phase("choosing the step"),
    "proving": phase("proving"),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stop_in_every_phase(root: Path, moment: str) -> None:
    job, stop = job_in(root, f"stopped-{moment}"), Stop()

    def listen(event: Event) -> None:
        if MOMENTS[moment](event):
            stop.request(moment)

    first = job.run(listen, stop)
    assert first.stopped == moment
    assert (first.finished, first.file, first.page) == (None, None, None)
    assert (first.steps > 0) == (moment in ("steps", "choosing", "proving"))
    assert not list(first.folder.rglob("adapter_model*"))
    with pytest.raises(Stopped, match=moment):
        print(first.end)
    last = job.run()
    assert (last.stopped, last.steps) == (None, 4)
    assert last.thing == "zarnu car"
    assert last.page is not None
    assert last.page.is_file()
    for file in FILES:
        assert (last.folder / file).read_bytes() == (root / "alone" / file).read_bytes(), file


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["steps", "choosing"])
def test_an_exception_in_a_listener_leaves_a_tuning_that_goes_on(root: Path, moment: str) -> None:
    job = job_in(root, f"failed-{moment}")

    def listen(event: Event) -> None:
        if MOMENTS[moment](event):
            raise ZeroDivisionError("a mistake of the listener")

    with pytest.raises(ZeroDivisionError):
        job.run(listen)
    done = job.run()
    for file in FILES:
        assert (done.folder / file).read_bytes() == (root / "alone" / file).read_bytes(), file


@pytest.mark.slow
def test_a_plan_and_the_phases(root: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    job = TuneJob(root / "photos", "car", str(root / "base"), overrides=WORDS, out=tmp_path / "car")
    plan = job.plan(events.append)
    assert not (tmp_path / "car").exists()
    assert plan.to_json().keys() == {"folder", "photos", "estimate", "warnings"}
    assert any("4 steps of 4" in line for line in plan.lines)
    job.run(events.append)
    phases = dict.fromkeys(event.what for event in events if isinstance(event, Phase))
    assert list(phases) == [
        *("loading", "photos", "outputs of the base for the prior", "choosing the step", "proving"),
    ]
    for what in phases:
        last = [event for event in events if isinstance(event, Phase) and event.what == what][-1]
        assert last.done == last.total, what
    assert sum(isinstance(event, Start) for event in events) == 1


@pytest.mark.slow
def test_the_verb_gives_the_result(root: Path) -> None:
    out = root / "verb"
    done = sfumato.tune(
        root / "photos", "car", str(root / "base"), steps=2, preset=sfumato.Preset(overrides=WORDS), out=out
    )
    assert done.folder == root / "verb"
    assert done.file is not None
    assert done.file.is_file()
    assert done.end.choice.step == 2


@pytest.mark.slow
def test_the_command_ends_with_3_and_one_object(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Screen.__call__

    def stopping(self: Screen, event: Event) -> None:
        plain(self, event)
        if MOMENTS["steps"](event):
            self.stop.request("SIGTERM")

    monkeypatch.setattr(Screen, "__call__", stopping)
    words = ["tune", str(root / "photos"), "--noun", "car", "--base", str(root / "base"), *WORDS]
    done = CliRunner().invoke(app, [*words, "--out", str(root / "command"), "--json"])
    assert done.exit_code == 3, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told.keys() == {"folder", "stopped", "estimate", "steps"}
    assert told["stopped"] == "SIGTERM"
    assert told["steps"] > 0
    assert "stopped by SIGTERM, saved" in done.stderr
