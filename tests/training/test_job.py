"""A job: planned, stopped, gone on with; a listener that raises; what encoding reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import sfumato
from sfumato.errors import UserError
from sfumato.pictures.store import Report
from sfumato.pictures.stored import Pictures, Store
from sfumato.progress import End, Event, Note, Phase, Save, Start, Stop, Stopped, phases
from sfumato.runs.checkpoint import listing
from sfumato.runs.folder import RunFolder
from sfumato.training import latents
from sfumato.training.job import TrainJob

from .conftest import SMALL

IMAGES = 320
WORDS = (*SMALL, f"train.images={IMAGES}", "train.save_images=80")


def weights(folder: Path) -> dict[str, bytes]:
    last = listing(folder / "checkpoints")[-1]
    return {path.name: path.read_bytes() for path in last.glob("*.safetensors")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    return TrainJob("shapes", WORDS, tmp_path_factory.mktemp("alone") / "run").run().folder


def when(kind: type[Event], images: int, do: Callable[[], None]) -> Callable[[Event], None]:
    """A listener that does something at the first event of a kind from so many images on."""
    done: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, kind) and getattr(event, "images", 0) >= images and not done:
            done.append(event)
            do()

    return listen


def test_a_plan_writes_nothing_and_says_what_it_takes(tmp_path: Path) -> None:
    job = TrainJob("shapes", WORDS, tmp_path / "run")
    events: list[Event] = []
    plan = job.plan(events.append)
    assert not (tmp_path / "run").exists()
    assert plan.folder == tmp_path / "run"
    assert any("320 images" in line for line in plan.lines)
    assert plan.estimate.seconds == pytest.approx(IMAGES / plan.estimate.images_per_second)
    assert plan.to_json().keys() == {"folder", "estimate", "warnings"}
    assert job.prepared() is job.prepared()


def test_a_stop_saves_and_the_same_job_goes_on(alone: Path, tmp_path: Path) -> None:
    job, stop = TrainJob("shapes", iter(WORDS), tmp_path / "run"), Stop()
    first = job.run(when(Save, 80, lambda: stop.request("enough")), stop)
    assert (first.images, first.stopped) == (80, "enough")
    assert first.checkpoint == tmp_path / "run" / "checkpoints" / "000000080"
    assert first.events("end")[-1]["stopped"] == "enough"
    again = job.run(stop=stop)  # still requested: not a step more
    assert (again.images, again.stopped) == (80, "enough")
    last = job.run()
    assert (last.images, last.stopped) == (IMAGES, None)
    assert weights(last.folder) == weights(alone)


def test_a_stop_before_the_first_step_leaves_no_checkpoint(tmp_path: Path) -> None:
    stop = Stop()
    job = TrainJob("shapes", WORDS, tmp_path / "run")
    job.plan()
    stop.request("changed my mind")
    found = job.run(stop=stop)
    assert (found.images, found.stopped, found.checkpoint) == (0, "changed my mind", None)
    with pytest.raises(Stopped, match="changed my mind"):
        TrainJob("shapes", WORDS, tmp_path / "other").plan(stop=stop)
    assert sfumato.train("shapes", WORDS, tmp_path / "other", stop=stop).stopped == "changed my mind"
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("kind", "images"), [(Start, 0), (Save, 160), (End, IMAGES)])
def test_an_exception_in_a_listener_saves_and_goes_on_up(
    alone: Path, tmp_path: Path, kind: type[Event], images: int
) -> None:
    heard: list[Event] = []

    def fail() -> None:
        raise ZeroDivisionError("a mistake of the listener")

    once = when(kind, images, fail)

    def listen(event: Event) -> None:
        heard.append(event)
        once(event)

    folder = tmp_path / "run"
    with pytest.raises(ZeroDivisionError, match="a mistake of the listener"):
        TrainJob("shapes", WORDS, folder).run(listen)
    assert isinstance(heard[-1], kind), "what has failed is not called again"
    end = RunFolder(folder).events("end")[-1]
    assert end["images"] == images
    assert end["stopped"] == (None if images == IMAGES else "ZeroDivisionError of a listener")
    assert [int(path.name) for path in listing(folder / "checkpoints")][-1:] == [images] * (images > 0)
    assert TrainJob("shapes", WORDS, folder).run().images == IMAGES
    assert weights(folder) == weights(alone)


class Halves(nn.Module):
    """Stands for an autoencoder."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def encode(self, x: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=x[:, :, ::2, ::2] * self.weight))


def store() -> Store:
    parts = []
    for count in (200, 30):
        pixels = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, 3, 4, 4).clone()
        parts.append(Pictures(pixels, torch.zeros(count), [], None, [str(k) for k in range(count)]))
    return Store(parts[0], parts[1], "digest", Report("drawn"), (3, 4, 4))


def test_encoding_reports_and_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path))
    events: list[Event] = []
    stop = Stop()

    def listen(event: Event) -> None:
        events.append(event)
        if len(events) == 3:
            stop.request("enough")

    with pytest.raises(Stopped):
        latents.encoded(store(), Halves(), "fp32", phases(listen, stop))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "half of the latents are no latents"
    events.clear()
    found = latents.encoded(store(), Halves(), "fp32", phases(events.append))
    assert events == [Phase("encoding", done, 230) for done in (64, 128, 192, 200, 230)]
    assert found.train.pixels.shape == (200, 3, 2, 2)
    events.clear()
    latents.encoded(store(), Halves(), "fp32", phases(events.append))
    assert not events, "they are kept"


def test_settings_are_changed_by_steps_alone(tmp_path: Path) -> None:
    """A finished run keeps the recipe that it was trained with, and is never shortened."""
    run = tmp_path / "run"
    sfumato.train("shapes", [*SMALL, "train.images=40"], run)
    before = (run / "recipe.yaml").read_bytes()
    events: list[Event] = []
    again = sfumato.train(run, ["train.lr=1"], progress=events.append)
    assert (again.images, (run / "recipe.yaml").read_bytes()) == (48, before)
    assert ["keeps its settings" in event.text for event in events if isinstance(event, Note)] == [True]
    assert sfumato.train(run, ["train.images=33"]).images == 48, "the same batches"
    with pytest.raises(UserError, match=r"train\.images=16: .*run has seen 48 images already; give train\.images=48"):
        sfumato.train(run, ["train.images=16"])
    assert (run / "recipe.yaml").read_bytes() == before
    stop = Stop()
    stop.request("enough")
    assert sfumato.train(run, ["train.images=64", "train.lr=1e-5"], stop=stop).images == 48
    assert (run / "recipe.yaml").read_bytes() == before
    assert sfumato.train(run, ["train.images=64", "train.lr=1e-5"]).images == 64
    assert RunFolder(run).recipe().train.lr == 1e-5
