"""The public verbs. Nothing heavy is imported before one is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfumato.judging.features import Features
    from sfumato.judging.model import Judged
    from sfumato.models.model import Model
    from sfumato.recipe.recipe import Recipe
    from sfumato.runs.folder import RunFolder
    from sfumato.training.loop import Listener
    from sfumato.tuning.finish import Finished


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
    listener: Listener | None = None,
) -> RunFolder:
    """Train a recipe, a shipped recipe's name or a folder of pictures, or go on where an earlier call stopped.

    overrides: `KEY=VALUE` by dotted path; listener: told every event that goes into log.jsonl. Raises UserError.
    """
    from sfumato.training import start

    return start.train(what, overrides, out, listener)


def judge(
    name: str | Path | Model,
    *,
    n: int | None = None,
    data: str | None = None,
    features: str | Features | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    **changes: Any,
) -> Judged:
    """Draw n samples and judge them.

    name: anything `load` takes, or a model; data: another source than the model's own; features: a name, or your own;
    changes: of the `sample` section (`steps`, `sampler`, `guidance`, ...). Conditions are drawn as often as in the
    training data. Raises UserError.
    """
    from sfumato.judging import model

    return model.judge(name, n=n, data=data, features=features, seed=seed, progress=progress, **changes)


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
    listener: Listener | None = None,
) -> Finished:
    """Teach `base` the thing that a folder of photos shows, choose a step, and leave a proven LoRA in a folder.

    noun: what it is, in a word that the base knows; preset: "default", which is "mini" for mini and "sd" for all other
    bases, or "seed"; steps: exactly so many, the last one kept; overrides: `KEY=VALUE`; listener: told every event of
    the log. Raises UserError.
    """
    from sfumato.tuning import finish

    return finish.tune(photos, noun, base, preset=preset, steps=steps, overrides=overrides, out=out, listener=listener)
