"""From a folder of photos to a LoRA: everything decided, said and checked before anything is learned."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from sfumato import recipe as recipes
from sfumato.errors import UserError
from sfumato.recipe import Recipe
from sfumato.text.model import TextModel
from sfumato.train import plan
from sfumato.train.loop import Listener, Loop, accelerator_for, precision_of
from sfumato.train.run import RunFolder
from sfumato.tune.photos import PhotoReport, check
from sfumato.tune.photoset import PhotoSet, prepare, tokens, trigger
from sfumato.tune.task import Personalise
from sfumato.zoo import load

LONG = 6  # tokens of a noun
PRESETS = {"default": "tune", "seed": "seed-tune"}
LOOKS = 12  # steps at which a tuning is looked at


@dataclass(frozen=True)
class TuneJob:
    """A tuning about to start: what was decided, what the photos are like, and what it will take."""

    recipe: Recipe
    model: TextModel
    report: PhotoReport
    photos: PhotoSet
    task: Personalise
    folder: RunFolder
    accelerator: Accelerator
    estimate: plan.Estimate


def preset_of(name: str) -> Recipe:
    """The recipe of a preset, for photos and a base that are yet to be named. Raises UserError."""
    if name not in PRESETS:
        raise UserError(f"there is no preset {name}: there are {', '.join(PRESETS)}")
    recipe = recipes.load(PRESETS[name])
    recipe.name = ""
    return recipe


def exactly(steps: int | None, recipe: Recipe) -> list[str]:
    """Overrides for a number of steps of which the last is kept; none for None."""
    return [f"train.images={steps * recipe.train.batch}", "tune.choose=false"] if steps else []


def begin(
    recipe: Recipe,
    overrides: Iterable[str] = (),
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TuneJob:
    """Look at the photos of `data.source`, load the base, and time a few steps. Raises UserError."""
    recipe = recipes.build(recipe.model_dump(), overrides)
    s = recipe.tune
    if not s.noun:
        raise UserError("what do the photos show? say it with --noun, in a word that the base knows: --noun car")
    folder = RunFolder(Path(out or Path("runs") / (recipe.name or Path(recipe.data.source).resolve().name)))
    accelerator = accelerator_for(recipe.train, folder.path)
    plan.settle_threads(accelerator.device.type, folder.threads())
    model = load(s.base, device=accelerator.device.type, precision=precision_of(recipe.train, accelerator.device.type))
    if not isinstance(model, TextModel):
        raise UserError(f"{model.name} is not a text-to-image model: a LoRA cannot change it")
    if tokens(model, s.noun) > LONG:
        raise UserError(f"the noun {s.noun!r} falls into {tokens(model, s.noun)} tokens: this base does not know it")
    side = recipe.data.image_size
    if isinstance(side, int):
        model = model.sized(side, side)
    report = check(Path(recipe.data.source), model.shape[1], progress)
    name = trigger(model, s.trigger)
    s.trigger = name
    recipe.noise.prediction = model.recipe.noise.prediction
    said = s.caption.format(trigger=name, noun=s.noun)
    if recipe.train.save_images is None:  # twelve steps to choose from
        recipe.train.save_images = max(1, recipe.train.images // LOOKS // recipe.train.batch) * recipe.train.batch
    photos = prepare(report, model, said, s.variants, recipe.data.flip, recipe.train.seed)
    recipe = recipe.model_copy(update={"name": recipe.name or folder.path.name})
    task = Personalise(recipe, model, photos, f"{name} {s.noun}")
    return TuneJob(recipe, model, report, photos, task, folder, accelerator, plan.estimate(task, recipe, accelerator))


def run(job: TuneJob, listener: Listener | None = None) -> RunFolder:
    """Learn until the end or a signal; goes on where an earlier call stopped. Raises UserError."""
    with job.folder.hold():
        pictures = hashlib.sha256(job.photos.pictures.numpy().tobytes()).hexdigest()
        facts = {
            "digest": pictures,
            "photos": [v.to_json() for v in job.report.verdicts],
            "held_out": job.photos.held_out,
        }
        job.folder.begin(job.recipe, facts)
        Loop(job.task, job.recipe, job.folder, job.accelerator, listener).run()
        job.accelerator.end_training()
    return job.folder
