"""The public verbs. Nothing heavy is imported before one is called."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfumato.judging.features import Features
    from sfumato.judging.model import Judged
    from sfumato.models.model import Model
    from sfumato.progress import Progress, Stop
    from sfumato.recipe.recipe import Recipe
    from sfumato.training.start import TrainResult
    from sfumato.tuning.job import TuneResult


def load(name: str | Path, device: str | None = None, precision: str | None = None) -> Model:
    """A model by run folder, checkpoint folder, safetensors file (a run's, or Stable Diffusion in one), or name.

    Raises UserError if there is none, or what is there is not whole.
    """
    from sfumato import zoo

    return zoo.load(name, device, precision)


def train(
    what: str | Path | Recipe,
    overrides: Iterable[str] = (),
    out: str | Path | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> TrainResult:
    """Train a recipe, a shipped recipe's name or a folder of pictures, or go on where an earlier call stopped.

    overrides: `KEY=VALUE` by dotted path; out: the run folder, `runs/NAME` if it is left out; progress: receives every
    event; stop: a token, by which the training saves and stops, as it does by Ctrl-C. Raises UserError.
    """
    from sfumato.training.job import TrainJob

    return TrainJob(what, overrides, out).run(progress, stop)


def judge(
    name: str | Path | Model,
    *,
    n: int | None = None,
    data: str | None = None,
    features: str | Features | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    stop: Stop | None = None,
    **changes: Any,
) -> Judged:
    """Draw n samples and judge them.

    name: anything `load` takes, or a model; data: another source than the model's own; features: a name, or your own;
    changes: of the `sample` section (`steps`, `sampler`, `guidance`, ...). Conditions are drawn as often as in the
    training data. Raises UserError.
    """
    from sfumato.judging import model

    return model.judge(name, n=n, data=data, features=features, seed=seed, progress=progress, stop=stop, **changes)


def compare(a: str | Path, b: str | Path, **options: Any) -> tuple[Judged, Judged]:
    """Judge two models with the same seeds, on the first one's data by its features and as many pictures of each.

    Options as for `judge`. Raises UserError if they draw pictures of different sizes.
    """
    from sfumato.judging import model

    return model.compare(a, b, **options)


def tune(
    photos: str | Path,
    noun: str,
    base: str = "mini",
    *,
    preset: str = "default",
    steps: int | None = None,
    overrides: Iterable[str] = (),
    out: str | Path | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> TuneResult:
    """Teach `base` the thing that a folder of photos shows, choose a step, and leave a proven LoRA in a folder.

    noun: what it is, in a word that the base knows; preset: "default", which is "mini" for mini and "sd" for all other
    bases, or "seed"; steps: exactly so many, the last one kept; overrides: `KEY=VALUE`; progress: receives every event;
    stop: a token, by which the tuning saves and stops, as it does by Ctrl-C. Raises UserError.
    """
    from sfumato.tuning.job import TuneJob

    return TuneJob(photos, noun, base, preset, steps, overrides, out).run(progress, stop)
