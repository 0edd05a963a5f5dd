"""Preparing a training from a name, and running it. `training/job.py` combines both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from sfumato import registry
from sfumato.errors import UserError
from sfumato.files import Json, check_folder
from sfumato.models.named import concrete, settle, try_net
from sfumato.pictures.choose import side_of
from sfumato.pictures.lookup import HUB_NAME, open_source
from sfumato.pictures.store import open_store
from sfumato.pictures.stored import Store
from sfumato.progress import Advance, Progress, Stop, phase, phases
from sfumato.recipe import recipe as recipes
from sfumato.recipe.recipe import Recipe
from sfumato.recipe.sections import Data
from sfumato.runs import checkpoint
from sfumato.runs.folder import RunFolder
from sfumato.runs.signals import stopping
from sfumato.training import plan
from sfumato.training.accelerator import accelerator_for, precision_of
from sfumato.training.begin import check_begin, has_begun, standing_on, take_over
from sfumato.training.loop import Loop
from sfumato.training.task import Task

DEFAULT_SIDE = {"cpu": 64}
OF_LATENTS = ("features", "autoencoder", "text")
"""Tasks that do not train the network of `net`: they make their own."""


@dataclass(frozen=True)
class Training:
    """A prepared training: settings, data, and the estimate of time and memory."""

    recipe: Recipe
    store: Store
    task: Task
    folder: RunFolder
    accelerator: Accelerator
    estimate: plan.Estimate

    def of_length(self, images: int) -> Training:
        """The same with another length in images seen."""
        recipe = self.recipe.with_({"train.images": images})
        return replace(self, recipe=recipe, estimate=self.estimate.of_length(images))


@dataclass(frozen=True)
class TrainResult:
    """The state of a training after `run`.

    folder: of the run; images: seen so far; stopped: the signal or reason, None if it is finished; checkpoint: the
    newest one's folder, None if there is none.
    """

    folder: Path
    images: int
    stopped: str | None
    checkpoint: Path | None

    @property
    def path(self) -> Path:
        """The same as `folder`."""
        return self.folder

    @classmethod
    def of(cls, folder: RunFolder, images: int, stopped: str | None) -> TrainResult:
        """The result from the present state of a run folder."""
        saved = checkpoint.listing(folder.checkpoints)
        return cls(folder.path, images, stopped, saved[-1] if saved else None)

    def events(self, kind: str | None = None) -> list[Json]:
        """The lines of the run's log."""
        return RunFolder(self.folder).events(kind)


def prepare(
    what: str | Path | Recipe,
    overrides: Iterable[str] = (),
    out: str | Path | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Training:
    """Load the data, choose all settings, and time a few steps.

    what: a recipe, its shipped name or path, a folder of pictures, a data set of the Hub, or a run folder to resume.
    Raises UserError, Stopped if a stop is requested meanwhile.
    """
    stop = stop or Stop()
    with stopping(stop):
        training = _prepared(what, list(overrides), out, progress, stop)
        stop.check()
        return training


def _prepared(
    what: str | Path | Recipe, overrides: list[str], out: str | Path | None, progress: Progress | None, stop: Stop
) -> Training:
    tell = phase("pictures", progress, stop)
    folder = RunFolder(Path(out or default_out(what)))
    check_folder(folder.path)
    source = source_of(what)
    photos = source is not None
    if (folder.path / "recipe.yaml").is_file() and (photos or _same(folder.path, what)):
        recipe = recipes.load(folder.path / "recipe.yaml", overrides)
        if photos and recipe.data.source != source:
            raise UserError(f"{folder.path} holds a run on {recipe.data.source}, not on {source}: choose another --out")
        photos = False
    elif photos:
        recipe = recipes.build({"data": {"source": source}}, overrides)
    else:
        recipe = what if isinstance(what, Recipe) else recipes.load(what, overrides)
        if isinstance(what, Recipe) and overrides:
            recipe = recipes.build(what.model_dump(), overrides)
        recipe.trust()  # it is the person's own, unlike one that lies in a run folder
    if recipe.task == "tune":
        raise UserError(f"{what} is a recipe for tuning on a few photos: use `sfumato tune FOLDER --noun WORD`")
    if not recipe.data.source:
        raise UserError("data.source is empty: name a folder, cifar10, shapes, emoji or a Hub dataset")
    settle(recipe)
    accelerator = accelerator_for(recipe.train, folder.path)
    device = accelerator.device.type
    plan.settle_threads(device, folder.threads())
    if not has_begun(folder.path, recipe.task):
        check_begin(recipe)
    if not photos:
        try_net(recipe)
    if photos:
        recipe = _planned(recipe, overrides, device, tell)
    store = open_store(recipe.data, tell)
    recipe = recipe.in_images(len(store.train))
    net = recipe.net if recipe.task in OF_LATENTS else concrete(recipe.net)
    recipe = recipe.model_copy(update={"name": recipe.name or folder.path.name, "net": net})
    begun = has_begun(folder.path, recipe.task)
    task = task_of(standing_on(folder.path, recipe) if begun else recipe, store, accelerator, progress, stop)
    if not begun:
        take_over(task.net, recipe)
    took = broadcast_object_list([plan.estimate(task, recipe, accelerator)])[0]  # one length for all processes
    training = Training(recipe, store, task, folder, accelerator, took)
    if photos and not any(text.startswith(("train.images=", "train.epochs=")) for text in overrides):
        return training.of_length(plan.length(len(store.train), took.images_per_second, device))
    return training


def run(training: Training, progress: Progress | None = None, stop: Stop | None = None) -> TrainResult:
    """Train to the end, or until a signal or `stop`, and save. Resumes from the newest checkpoint.

    Raises UserError, Busy if the folder is in use, and exceptions of `progress` after saving.
    """
    stop, folder, accelerator = stop or Stop(), training.folder, training.accelerator
    main = accelerator.is_main_process
    loop = Loop(training.task, training.recipe, folder, accelerator, progress if main else None, stop)
    with stopping(stop):
        if main:
            with folder.hold():
                report = training.store.report.to_json()
                facts = {"digest": training.store.digest, "shape": list(training.store.shape), "report": report}
                ended = stop.reason is not None or _images_seen(folder) >= training.recipe.train.images
                folder.begin(training.recipe, facts, keep=ended)
                _check_length(training.recipe, folder)  # another recipe is named first
                if ended and folder.recipe() != training.recipe:
                    loop.note(f"no step is left to take: {folder.path} keeps its settings, the changed ones are unused")
                if training.recipe.train.tracker:
                    accelerator.init_trackers(training.recipe.name)
                accelerator.wait_for_everyone()
                loop.run()
                accelerator.end_training()
        else:
            accelerator.wait_for_everyone()  # until the main process holds the lock: then no other run can save
            loop.run()
    return TrainResult.of(folder, loop.images, loop.stopped)


def task_of(
    recipe: Recipe, store: Store, accelerator: Accelerator, progress: Progress | None = None, stop: Stop | None = None
) -> Task:
    """The task a recipe names."""
    learn = registry.find("task", recipe.task)
    given = {
        "recipe": recipe, "store": store, "device": accelerator.device,
        "precision": precision_of(recipe.train, accelerator.device.type), "tell": phases(progress, stop),
    }  # fmt: skip
    taken = registry.arguments(learn, given, recipe.options, "options")
    with registry.calling("task", recipe.task):
        task: Task = learn(**taken)
    return task


def source_of(what: str | Path | Recipe) -> str | None:
    """The `data.source` of a folder that is not a run, or of a data set of the Hub by its name; else None."""
    if isinstance(what, Recipe):
        return None
    path = Path(what)
    if path.is_dir():
        return None if (path / "recipe.yaml").is_file() else str(path.resolve())
    named = HUB_NAME.fullmatch(str(what)) and not path.parent.is_dir() and path.suffix not in (".yaml", ".yml")
    return str(what) if named else None


def default_out(what: str | Path | Recipe) -> Path:
    if isinstance(what, Recipe):
        name = what.name or Path(what.data.source).name
    elif (Path(what) / "recipe.yaml").is_file():
        return Path(what)
    else:
        name = Path(what).resolve().name if Path(what).exists() else str(what)
        name = name.removesuffix(".yaml").removesuffix(".yml")
    return Path("runs") / (re.sub(r"[^\w.-]+", "-", name).strip("-") or "run")


def _same(folder: Path, what: str | Path | Recipe) -> bool:
    return isinstance(what, (str, Path)) and Path(what).is_dir() and Path(what).resolve() == folder.resolve()


def _images_seen(folder: RunFolder) -> int:
    """Images seen at the newest checkpoint, 0 if there is none."""
    found, _ = checkpoint.newest(folder.checkpoints)
    return found.images if found else 0


def _check_length(recipe: Recipe, folder: RunFolder) -> None:
    """Raises UserError if a run has gone further than the end that its recipe now names, in whole batches."""
    images, batch, seen = recipe.train.images, recipe.train.batch, _images_seen(folder)
    if seen > -(-images // batch) * batch:
        raise UserError(
            f"train.images={images}: {folder.path} has seen {seen} images already; give train.images={seen} or more, "
            "or choose another --out"
        )


def _planned(recipe: Recipe, overrides: list[str], device: str, tell: Advance) -> Recipe:
    """The recipe for a folder, chosen by its pictures; overrides take precedence."""
    data: Data = recipe.data
    if data.image_size is None:
        size = side_of(open_source(data.source, data), data, DEFAULT_SIDE.get(device, 128))
        data = data.model_copy(update={"image_size": size})
    store = open_store(data, tell)
    given = {text.partition("=")[0] for text in overrides}
    if "data.condition" not in given:
        captions = sum(map(bool, store.train.captions or ()))
        labels = len(store.train.label_names) > 1
        condition = "words" if 2 * captions > len(store.train) else "class" if labels else "none"
        data = data.model_copy(update={"condition": condition})
    chosen = plan.for_folder(data.source, store, data, device)
    return recipes.build(chosen.model_dump(), overrides)
