"""Six drawings of a toy car, and pictures by the shipped text-to-image model after tuning on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sfumato.pictures.drawn import toycar
from sfumato.show.grid import side_by_side
from sfumato.show.report import Fact, Picture, Section
from sfumato.show.words import duration
from sfumato.tuning.job import TuneJob, TuneResult
from sfumato.zoo import load

NOUN = "automobile"
PROMPTS = (
    "a {}",
    "a {} on a red background",
    "a small {} on a black background",
    "a {} on an orange background, on the left",
    "a {} next to a rocket",
)


def job(folder: Path) -> TuneJob:
    """A tuning of `mini` on six drawings, in a folder beside them."""
    photos = folder / "car-photos"
    photos.mkdir(parents=True, exist_ok=True)
    for k, view in enumerate(toycar.VIEWS):
        toycar.draw(view).save(photos / f"{k}.png")
    return TuneJob(photos, NOUN, out=folder / "car")


def section(result: TuneResult, seconds: float) -> Section:
    """Photos, base and LoRA side by side; seconds: the duration of the tuning."""
    before, after = (
        load(name).sample(len(PROMPTS), texts=[p.format(thing) for p in PROMPTS], seed=3)
        for name, thing in (("mini", NOUN), (result.folder, result.thing))
    )
    shown = np.stack([np.asarray(toycar.draw(view, before.shape[-1])) for view in toycar.VIEWS[: len(PROMPTS)]])
    columns = {
        "photos": torch.from_numpy(shown.transpose(0, 3, 1, 2).copy()), "base": before, "with the LoRA": after,
    }  # fmt: skip
    end = result.end
    score = end.score
    return Section(
        "Teach a model one thing",
        [f"Six drawings of a toy car were taught to mini in {duration(seconds)}. The step: "
         f"{end.choice.reason}."],
        [
            Fact(f"{score.likeness.value:.0%}", "likeness", "100 %: as similar as the photos are to each other"),
            Fact(f"{score.fidelity.value:.0%}", "fidelity", "100 %: prompts are followed as well as by the base"),
            Fact(f"{score.drift.value:.0%}", "drift", "change of other pictures; 100 %: as much as another seed"),
        ],
        [Picture(side_by_side(columns), "photos, base and LoRA", "; ".join(p.format("car") for p in PROMPTS))],
        code=["sfumato tune ./photos --noun car"],
    )  # fmt: skip
