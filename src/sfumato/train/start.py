"""From a name to a finished run: the verb `train`."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from sfumato import recipe as recipes
from sfumato.errors import UserError
from sfumato.model import concrete
from sfumato.pictures.store import Store, open_store
from sfumato.recipe import Recipe
from sfumato.sections import Data
from sfumato.train import plan
from sfumato.train.loop import Listener, Loop, accelerator_for, precision_of
from sfumato.train.run import RunFolder
from sfumato.train.task import Task

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

    what: a recipe, its shipped name or path, a folder of pictures, or a run folder to go on with. Raises UserError for
    anything a person can mend.
    """
    overrides = list(overrides)
    folder = RunFolder(Path(out or default_out(what)))
    photos = isinstance(what, (str, Path)) and is_photos(Path(what))
    if (folder.path / "recipe.yaml").is_file() and (photos or _same(folder.path, what)):
        recipe = recipes.load(folder.path / "recipe.yaml", overrides)
        photos = False
    elif photos:
        recipe = recipes.build({"data": {"source": str(Path(str(what)).resolve())}}, overrides)
    else:
        recipe = what if isinstance(what, Recipe) else recipes.load(what, overrides)
        if isinstance(what, Recipe) and overrides:
            recipe = recipes.build(what.model_dump(), overrides)
    if recipe.task == "tune":
        raise UserError(f"{what} is a recipe for a few photos of one thing: use `sfumato tune FOLDER --noun WORD`")
    if not recipe.data.source:
        raise UserError("data.source is empty: name a folder, cifar10, shapes, emoji or a Hub dataset")
    accelerator = accelerator_for(recipe.train)
    device = accelerator.device.type
    if photos:
        recipe = _planned(recipe, overrides, device, progress)
    store = open_store(recipe.data, progress)
    net = concrete(recipe.net) if recipe.task in ("generate", "denoise") else recipe.net
    recipe = recipe.model_copy(update={"name": recipe.name or folder.path.name, "net": net})
    task = task_of(recipe, store, accelerator)
    took = broadcast_object_list([plan.fastest(task, recipe, accelerator, folder.threads())])[
        0
    ]  # one length for all processes
    if photos and not any(text.startswith("train.images=") for text in overrides):
        recipe.train.images = plan.length(len(store.train), took.images_per_second, device)
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
    learn: Callable[..., Task] = getattr(importlib.import_module(f"sfumato.train.{module}"), name)
    return learn(recipe, store, accelerator.device, precision_of(recipe.train, accelerator.device.type))


def is_photos(path: Path) -> bool:
    """A folder that is not a run."""
    return path.is_dir() and not (path / "recipe.yaml").is_file()


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
        data = data.model_copy(update={"image_size": DEFAULT_SIDE.get(device, 128)})
    store = open_store(data, progress)
    given = {text.partition("=")[0] for text in overrides}
    if "data.condition" not in given:
        told = "words" if store.train.captions else "class" if len(store.train.label_names) > 1 else "none"
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
