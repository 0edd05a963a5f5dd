"""From a folder of photos to a prepared tuning: everything is checked before training; and the training itself."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sfumato.errors import UserError
from sfumato.files import aside, check_folder, save_tensors
from sfumato.lora.adapter import without
from sfumato.lora.origin import same_base
from sfumato.models.latent import LatentModel, latent_of
from sfumato.models.named import settle
from sfumato.progress import Advance, Progress, Stop, phase
from sfumato.recipe import recipe as recipes
from sfumato.recipe.recipe import Recipe
from sfumato.recipe.sections import Tune
from sfumato.runs.folder import RunFolder
from sfumato.runs.signals import stopping
from sfumato.training import plan
from sfumato.training.accelerator import accelerator_for, precision_of
from sfumato.training.loop import Loop, Previews
from sfumato.tuning.parked import Parked
from sfumato.tuning.photos.captions import described, describes
from sfumato.tuning.photos.photos import PhotoReport, check, paths_in
from sfumato.tuning.photos.photoset import PhotoSet, doubts, prepare, tokens, trigger
from sfumato.tuning.prior import MOST, Prior
from sfumato.tuning.score.features import are_photos
from sfumato.tuning.task import SHOWN, Personalise, prior_per_step
from sfumato.zoo import load

PLAIN = "a {trigger} {noun}"
LONG = 6  # tokens of a noun
CANDIDATES = 10  # checkpoints to choose from
A_MINUTE, SMALL = 60.0, 0.1  # limits of a preview: seconds, or share of the training
SHARE = 0.9  # of the memory that is free
BACKWARD = 2.5  # time of a training step, in forward passes
TIGHT = 2.5  # memory of a step, in sizes of the base's weights
SD15 = "4.3 GB"
PRIOR = "prior.safetensors"  # the base's outputs for the prior, in the run folder
AT_ONCE, APART = 8, 50_000  # class pictures drawn together; offset of their seeds from those of previews


@dataclass(frozen=True)
class Tuning:
    """A prepared tuning: settings, photos, and the estimate of time and memory.

    twice: activation checkpointing is used; warnings: about the noun, one line each.
    """

    recipe: Recipe
    model: LatentModel
    report: PhotoReport
    photos: PhotoSet
    task: Personalise
    folder: RunFolder
    accelerator: Accelerator
    estimate: plan.Estimate
    twice: bool = False
    warnings: tuple[str, ...] = ()


def begin(
    recipe: Recipe,
    overrides: Iterable[str] = (),
    out: str | Path | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    steps: int | None = None,
) -> Tuning:
    """Check the photos of `data.source`, load the base, and time a few steps.

    steps: train exactly this number and keep the last. Raises UserError, Stopped if a stop is requested meanwhile.
    """
    stop = stop or Stop()
    with stopping(stop):
        tuning = _begun(recipe, overrides, out, progress, stop, steps)
        stop.check()
        return tuning


def folder_of(recipe: Recipe, out: str | Path | None) -> RunFolder:
    """The folder of a tuning: `out`, or runs/NAME."""
    return RunFolder(Path(out or Path("runs") / (recipe.name or Path(recipe.data.source).resolve().name)))


def _begun(
    recipe: Recipe,
    overrides: Iterable[str],
    out: str | Path | None,
    progress: Progress | None,
    stop: Stop,
    steps: int | None,
) -> Tuning:
    recipe = _settled(recipes.build(recipe.model_dump(), overrides), steps)
    s = recipe.tune
    folder = folder_of(recipe, out)
    check_folder(folder.path)
    if folder.path.is_dir() and not (folder.path / "recipe.yaml").is_file() and any(
        path.name != ".lock" for path in folder.path.iterdir()
    ):  # fmt: skip
        raise UserError(f"{folder.path} contains other files: choose another --out, a new or empty folder")
    settle(recipe)
    paths_in(Path(recipe.data.source))
    accelerator = accelerator_for(recipe.train, folder.path)
    plan.settle_threads(accelerator.device.type, folder.threads())
    loading = phase("loading", progress, stop)
    loading(0, 1)
    device = accelerator.device.type
    model = latent_of(load(s.base, device=device, precision=precision_of(recipe.train, device)))
    loading(1, 1)
    same_base(model, folder.facts(), str(folder.path))
    if tokens(model, s.noun) > LONG:
        raise UserError(
            f"the noun {s.noun!r} has {tokens(model, s.noun)} tokens: this base does not know it, use another word"
        )
    side = recipe.data.image_size
    if isinstance(side, int):
        model = model.sized(side, side)
    report = check(Path(recipe.data.source), model.shape[1], phase("photos", progress, stop))
    own = recipe.name or folder.path.resolve().name
    name = trigger(model, s.trigger, own)
    recipe = recipe.with_({"tune.trigger": name, "noise.prediction": model.prediction})
    thing = f"{name} {s.noun}"
    warnings = [*doubts(model, s.noun)]
    model.words = model.words and model.words.also([thing])
    caption = _caption(s, name)
    if recipe.train.save_images is None and s.choose:  # CANDIDATES to choose from
        every = max(1, recipe.train.images // CANDIDATES // recipe.train.batch) * recipe.train.batch
        recipe = recipe.with_({"train.save_images": every})
    describe = functools.partial(described, thing=thing) if not s.caption and describes(model) else None
    short = _is_short(recipe, model)
    away = Parked(model.net.denoisers()) if short else None
    photos = prepare(report, model, caption, name, s.variants, recipe.data.flip, recipe.train.seed, describe)
    if away is not None:
        away.back()
    if model.source == "emoji" and are_photos(photos.pictures[:, 0]):
        warnings.append(for_photos(model.name, recipe))
    recipe = recipe.with_({"name": own})
    model.defaults = model.defaults.model_copy(
        update={"sampler": recipe.sample.sampler, "options": recipe.sample.options}
    )
    task = Personalise(recipe, model, photos, thing)
    took, twice = _estimated(task, recipe, accelerator, short)
    return Tuning(recipe, model, report, photos, task, folder, accelerator, took, twice, tuple(warnings))


def for_photos(base: str, recipe: Recipe) -> str:
    """What to do with real photos instead of teaching them to a base of drawings."""
    words = ["sfumato", "tune", str(Path(recipe.data.source).resolve()), "--noun", recipe.tune.noun, "--base", "sd15"]
    return (
        f"{base} draws emoji and cannot learn real photos, which these seem to be; for a base of photos: "
        f"{shlex.join(words)} (downloads {SD15} once; offline, --base takes its folder)"
    )


def _settled(recipe: Recipe, steps: int | None) -> Recipe:
    """The recipe for exactly so many steps, if they are given. Raises UserError if it is none of a tuning."""
    recipe = recipe.with_({"tune.noun": " ".join(recipe.tune.noun.split())})
    if steps is not None:
        recipe = recipe.with_({"train.images": steps * recipe.train.batch, "tune.choose": False})
    if recipe.train.epochs is not None:
        raise UserError("train.epochs: a tuning is as long as its steps: use --steps, or set train.images")
    if recipe.train.precision == "fp64":
        raise UserError("train.precision=fp64: a LoRA is trained in fp32, bf16 or fp16")
    if not recipe.tune.noun:
        raise UserError(
            "name the kind of thing that the photos show with --noun, in a word that the base knows: --noun car"
        )
    _caption(recipe.tune, "trigger")
    return recipe


def _caption(tune: Tune, trigger: str) -> str:
    """The caption of photos that have none of their own. Raises UserError."""
    try:
        return (tune.caption or PLAIN).format(trigger=trigger, noun=tune.noun)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise UserError(f"tune.caption={tune.caption!r}: only {{trigger}} and {{noun}} can be used in it") from error


def _estimated(task: Personalise, recipe: Recipe, accelerator: Accelerator, short: bool) -> tuple[plan.Estimate, bool]:
    """Time and memory of a step, and whether activation checkpointing is used because memory is short."""
    checkpointing, room = recipe.tune.checkpointing, _room(accelerator.device)
    if not short:
        try:
            took = plan.estimate(task, recipe, accelerator)
            if checkpointing is False or took.memory < room:
                return took, False
        except torch.OutOfMemoryError:
            if checkpointing is False:
                raise UserError("not enough memory: set tune.checkpointing=true, which needs less") from None
    task.save_memory()
    return plan.estimate(task, recipe, accelerator), True


def _is_short(recipe: Recipe, model: LatentModel) -> bool:
    """Whether to save memory from the start: if set, or on a CPU where a trial could be killed for lack of memory."""
    device, checkpointing = torch.device(model.device), recipe.tune.checkpointing
    weights = sum(p.numel() * p.element_size() for p in model.net.parameters())
    return checkpointing is True or (checkpointing is None and device.type == "cpu" and weights * TIGHT > _room(device))


def _room(device: torch.device) -> float:
    """Bytes that this process may use."""
    if device.type == "cuda":
        return SHARE * torch.cuda.mem_get_info()[1]
    return SHARE * (psutil.virtual_memory().available + psutil.Process().memory_info().rss)


def learn(job: Tuning, progress: Progress | None = None, stop: Stop | None = None) -> str | None:
    """Train until the end or a stop; resumes where an earlier call stopped. Returns the reason of a stop.

    The caller holds the folder's lock. Raises UserError, and Stopped if a stop is requested before the first step.
    """
    digest = hashlib.sha256(job.photos.pictures.numpy().tobytes())
    digest.update("\n".join(job.photos.captions).encode())
    facts = {
        "digest": digest.hexdigest(),
        "captions": dict(zip(job.photos.names, job.photos.captions, strict=True)),
        "photos": [v.to_json() for v in job.report.verdicts],
        "held_out": job.photos.held_out,
        "base": job.model.identity and job.model.identity.to_json(),
    }
    job.folder.begin(job.recipe, facts)
    if job.recipe.tune.prior:
        job.task.hold(_prior(job, progress, stop))
    previews: Previews = "at once" if affords_previews(job) else "none"
    loop = Loop(job.task, job.recipe, job.folder, job.accelerator, progress, stop, previews)
    loop.run()
    job.accelerator.end_training()
    return loop.stopped


def run(job: Tuning, progress: Progress | None = None, stop: Stop | None = None) -> RunFolder:
    """`learn` with the folder locked and signals handled."""
    stop = stop or Stop()
    with stopping(stop), job.folder.hold():
        learn(job, progress, stop)
    return job.folder


def forward_takes(job: Tuning, passes: float) -> float:
    """Seconds of forward passes of one picture, estimated from the time of a training step, which has forward and
    backward passes for the photos and for the prior.
    """
    batch = job.recipe.train.batch
    rows = 1 + (prior_per_step(batch) / batch if job.recipe.tune.prior else 0)
    return passes / (BACKWARD * rows * job.estimate.images_per_second)


def prior_size(job: Tuning) -> int:
    """The number of the base's outputs for the prior, computed before the first step."""
    s = job.recipe
    return max(1, min(MOST, s.train.images // s.train.batch * prior_per_step(s.train.batch))) if s.tune.prior else 0


def affords_previews(job: Tuning) -> bool:
    """Whether a preview takes less than a minute, or a tenth of the training."""
    takes = forward_takes(job, 2 * len(SHOWN) * job.model.defaults.steps)
    return takes < max(A_MINUTE, SMALL * job.estimate.seconds)


def _prior(job: Tuning, progress: Progress | None, stop: Stop | None) -> Prior:
    """The prior, from the run folder or computed: outputs of the base, or class pictures drawn by it."""
    r, task, file = job.recipe, job.task, job.folder.path / PRIOR
    # a damaged file is computed again, with the same result
    with contextlib.suppress(FileNotFoundError, SafetensorError, TypeError):
        return Prior(**load_file(file))
    what = f"drawing pictures of a {r.tune.noun}" if r.tune.class_pictures else "outputs of the base for the prior"
    tell = phase(what, progress, stop)
    if r.tune.class_pictures:
        prior = task.prior_inputs(MOST, _class(job, tell))
    else:
        prior = task.with_base_outputs(task.prior_inputs(prior_size(job)), tell)
    with aside(file) as temporary:
        save_tensors(temporary, {name: tensor.clone() for name, tensor in prior.tensors().items()})
    return prior


def _class(job: Tuning, tell: Advance) -> Tensor:
    """Latents of class pictures drawn by the base."""
    r, model = job.recipe, job.model
    latents: list[Tensor] = []
    with job.task.parked.here(), without(model.net):
        for first in range(0, r.tune.class_pictures, AT_ONCE):
            count = min(AT_ONCE, r.tune.class_pictures - first)
            drawn = model.sample(count, texts=[f"a {r.tune.noun}"], seed=r.train.seed + APART + first, warn=False)
            latents.append(model.enter(drawn).cpu())
            tell(first + count, r.tune.class_pictures)
    return torch.cat(latents)
