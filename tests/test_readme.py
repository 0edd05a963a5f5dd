"""The Python block of README.md runs, with small stand-ins for what takes long or is downloaded."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import sfumato
from sfumato.models.samples import Samples
from sfumato.models.sampling import Sampling
from sfumato.models.sd import pipeline as pipelines
from sfumato.training.start import TrainResult
from sfumato.tuning.job import TuneResult

from .tiny import write_pictures
from .training.conftest import SMALL
from .tuning.conftest import base
from .tuning.test_photos import scene

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL_TUNE = sfumato.Preset(overrides=["train.batch=2", "tune.rank=2"])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the block names, a tiny base in place of sd15, and trainings and judgements of a few images."""
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "photos")
    scene(0, (33, 20)).save(tmp_path / "photo.jpg")
    (tmp_path / "car").mkdir()
    for k in range(5):
        scene(k, (40, 40)).save(tmp_path / "car" / f"{k}.png")
    pipelines.write(base(), tmp_path / "base", half=False)
    train, tune, judge, load = sfumato.train, sfumato.tune, sfumato.judge, sfumato.load

    def stand_in(name: str) -> str:
        return "base" if name == "sd15" else name

    monkeypatch.setattr(sfumato, "train", lambda what, overrides: train(what, [*overrides, *SMALL, "train.images=32"]))
    monkeypatch.setattr(sfumato, "judge", lambda model: judge(model, n=4, sampling=Sampling(steps=1)))
    monkeypatch.setattr(sfumato, "load", lambda model, lora: load(stand_in(model), lora=lora))
    monkeypatch.setattr(
        sfumato, "tune", lambda photos, noun, base: tune(photos, noun, stand_in(base), preset=SMALL_TUNE, steps=1)
    )
    return tmp_path


@pytest.mark.slow
def test_the_python_block_runs(place: Path) -> None:
    (code,) = BLOCK.findall(README.read_text("utf-8"))
    lines, after = code.splitlines(), dict[str, object]()
    lines[-1] = f"last = {lines[-1]}"  # the line that gives pictures and keeps none
    exec(compile("\n".join(lines), str(README), "exec"), after)
    run, drawn, tuned = after["run"], after["drawn"], after["tuned"]
    assert isinstance(run, TrainResult)
    assert (run.images, run.folder) == (32, Path("runs/photos"))
    assert isinstance(drawn, Samples)
    assert drawn.pictures.dtype == np.uint8
    assert (len(drawn), drawn.seeds[0], drawn.settings.steps) == (16, 7, 20)
    assert isinstance(tuned, TuneResult)
    assert (place / "clean.jpg").is_file()
    last = after["last"]
    assert isinstance(last, Samples)
    assert last.texts == (f"a {tuned.thing} on a beach",)
    assert last.model == "base"
