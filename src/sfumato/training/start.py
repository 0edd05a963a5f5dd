"""From a name to a finished run: the verb `train`."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from sfumato.errors import UserError
from sfumato.models.named import concrete
from sfumato.pictures.choose import side_of
from sfumato.pictures.lookup import HUB_NAME, open_source
from sfumato.pictures.store import Store, open_store
from sfumato.recipe import recipe as recipes
from sfumato.recipe.recipe import Recipe
from sfumato.recipe.sections import Data
from sfumato.runs.folder import RunFolder
from sfumato.training import plan
from sfumato.training.begin import has_begun, standing_on, take_over
from sfumato.training.loop import Listener, Loop, accelerator_for, precision_of
from sfumato.training.task import Task

DEFAULT_SIDE = {"cpu": 64}
TASKS = {
    "generate": "generate.Generate",
    "denoise": "denoise.Denoise",
    "features": "features.LearnFeatures",
    "autoencoder": "autoencoder.LearnAutoencoder",
    "text": "text.LearnText",
}  # imported when asked for: some need heavy libraries


@dataclass(frozen=True)
class Job:
    """A training about to start: what was decided, and what it will take."""

    recipe: Recipe
    store: Store
    task: Task
    folder: RunFolder
    accelerator: Accelerator
    estimate: plan.Estimate


def prepare(
    what: str | Path | Recipe,
    overrides: Iterable[str] = (),
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Job:
    """Decide everything before anything is trained.

    what: a recipe, its shipped name or path, a folder of pictures, a data set of the Hub, or a run folder to go on
    with. Raises UserError for anything a person can mend.
    """
    overrides = list(overrides)
    folder = RunFolder(Path(out or default_out(what)))
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
    if recipe.task == "tune":
        raise UserError(f"{what} is a recipe for a few photos of one thing: use `sfumato tune FOLDER --noun WORD`")
    if not recipe.data.source:
        raise UserError("data.source is empty: name a folder, cifar10, shapes, emoji or a Hub dataset")
    accelerator = accelerator_for(recipe.train, folder.path)
    device = accelerator.device.type
    plan.settle_threads(device, folder.threads())
    if photos:
        recipe = _planned(recipe, overrides, device, progress)
    store = open_store(recipe.data, progress)
    recipe = recipe.in_images(len(store.train))
    net = concrete(recipe.net) if recipe.task in ("generate", "denoise") else recipe.net
    recipe = recipe.model_copy(update={"name": recipe.name or folder.path.name, "net": net})
    if has_begun(folder.path, recipe.task):
        task = task_of(standing_on(folder.path, recipe), store, accelerator)
    else:
        task = task_of(recipe, store, accelerator)
        take_over(task.net, recipe)
    took = broadcast_object_list([plan.estimate(task, recipe, accelerator)])[0]  # one length for all processes
    if photos and not any(text.startswith(("train.images=", "train.epochs=")) for text in overrides):
        recipe = recipe.with_({"train.images": plan.length(len(store.train), took.images_per_second, device)})
        took = plan.Estimate(took.images_per_second, recipe.train.images / took.images_per_second, took.memory)
    return Job(recipe, store, task, folder, accelerator, took)


def run(job: Job, listener: Listener | None = None) -> RunFolder:
    """Train a prepared job to its end, or until a signal. Raises UserError if the folder is in use or another's."""
    main = job.accelerator.is_main_process
    if not main:
        Loop(job.task, job.recipe, job.folder, job.accelerator).run()
        return job.folder
    with job.folder.hold():
        report = job.store.report.to_json()
        job.folder.begin(job.recipe, {"digest": job.store.digest, "shape": list(job.store.shape), "report": report})
        if job.recipe.train.tracker:
            job.accelerator.init_trackers(job.recipe.name)
        Loop(job.task, job.recipe, job.folder, job.accelerator, listener).run()
        job.accelerator.end_training()
    return job.folder


def task_of(recipe: Recipe, store: Store, accelerator: Accelerator) -> Task:
    """The task a recipe names."""
    module, _, name = TASKS[recipe.task].partition(".")
    learn: Callable[..., Task] = getattr(importlib.import_module(f"sfumato.training.tasks.{module}"), name)
    return learn(recipe, store, accelerator.device, precision_of(recipe.train, accelerator.device.type))


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


def _planned(recipe: Recipe, overrides: list[str], device: str, progress: Callable[[int, int], None] | None) -> Recipe:
    """The recipe for a folder, chosen by what is in it; overrides have the last word."""
    data: Data = recipe.data
    if data.image_size is None:
        size = side_of(open_source(data.source, data), data, DEFAULT_SIDE.get(device, 128))
        data = data.model_copy(update={"image_size": size})
    store = open_store(data, progress)
    given = {text.partition("=")[0] for text in overrides}
    if "data.condition" not in given:
        captions = sum(map(bool, store.train.captions or ()))
        labels = len(store.train.label_names) > 1
        told = "words" if 2 * captions > len(store.train) else "class" if labels else "none"
        data = data.model_copy(update={"condition": told})
    chosen = plan.for_folder(data.source, store, data, device)
    return recipes.build(chosen.model_dump(), overrides)


def train(
    what: str | Path | Recipe,
    overrides: Iterable[str] = (),
    out: str | Path | None = None,
    listener: Listener | None = None,
) -> RunFolder:
    """Train a recipe, a shipped recipe's name or a folder of pictures, or go on where an earlier call stopped.

    overrides: `KEY=VALUE` by dotted path; listener: told every event that goes into log.jsonl. Raises UserError.
    """
    return run(prepare(what, overrides, out), listener)
