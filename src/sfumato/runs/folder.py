"""The run folder: recipe, data, environment, log, checkpoints, samples; locked to one process at a time."""

from __future__ import annotations

import contextlib
import json
import platform
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from filelock import FileLock, Timeout
from PIL import Image

from sfumato.errors import Busy, UserError
from sfumato.files import Facts, Json, aside, disk_trouble, write_json, write_text
from sfumato.recipe import recipe as recipes
from sfumato.recipe.recipe import Recipe
from sfumato.runs import checkpoint
from sfumato.runs.signals import has_parent

GRACE = 0.3  # seconds: `sfumato runs` takes a lock for an instant, to see whether it is free
PATIENCE = 60.0  # seconds that a child of SFUMATO_PARENT waits for the lock
CHANGEABLE = {  # settings that may change when a run is resumed
    "name",
    "about",
    *(
        f"train.{key}"
        for key in ("images", "epochs", "lr", "warmup", "decay", "clip", "accumulate", "compile", "precision")
    ),
    *(f"train.{key}" for key in ("save_seconds", "save_images", "preview_seconds", "keep", "tracker")),
}


class RunFolder:
    """`runs/NAME`: everything needed to resume a run, sample it or judge it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    def recipe(self) -> Recipe:
        """The resolved recipe the run was started with."""
        return recipes.load(self.path / "recipe.yaml")

    def threads(self) -> int | None:
        """The number of threads of earlier starts of this run, None before the first."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return int(json.loads((self.path / "env.json").read_text(encoding="utf-8"))["threads"])
        return None

    def facts(self) -> Json | None:
        """The facts about the data from the first start, None before it or if the file is damaged."""
        with contextlib.suppress(OSError, ValueError):
            facts = json.loads((self.path / "data.json").read_text(encoding="utf-8"))
            return facts if isinstance(facts, dict) else None
        return None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Lock the folder against other processes. Raises Busy if another one holds the lock.

        With SFUMATO_PARENT it waits up to a minute: an earlier process, whose parent died, may still be saving.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=PATIENCE if has_parent() else GRACE)
            lock.acquire()
        except Timeout:
            raise Busy(
                f"{self.path} is in use by another process: wait for it, stop it, or choose another --out"
            ) from None
        except OSError as error:
            raise disk_trouble(error, self.path) or UserError(f"cannot use {self.path}: {error}") from error
        try:
            yield
        finally:
            lock.release()

    def begin(self, recipe: Recipe, data: Json, keep: bool = False) -> None:
        """Write recipe, data and environment, or check that those in the folder agree with them.

        keep: a recipe in the folder is left as it is, since no step will be taken with the changed one. Raises
        UserError naming the first difference.
        """
        file = self.path / "recipe.yaml"
        if file.is_file():
            try:
                old = self.recipe()
            except UserError as error:
                raise UserError(f"{error}: correct it or choose another --out") from error
            difference = _difference(old.model_dump(mode="json"), recipe.model_dump(mode="json"))
            if difference:
                raise UserError(f"{self.path} holds a run of another recipe ({difference}): choose another --out")
        elif any(self.path.glob("checkpoints/*")):
            raise UserError(f"{self.path} holds checkpoints but no recipe.yaml: choose another --out")
        known = self.path / "data.json"
        if known.is_file():
            before = json.loads(known.read_text(encoding="utf-8"))
            if before.get("digest") != data.get("digest"):
                raise UserError(f"the pictures of {self.path} have changed since the run began: choose another --out")
        log = self.path / "log.jsonl"
        if log.is_file() and log.stat().st_size and not log.read_bytes().endswith(b"\n"):
            with log.open("a") as tail:  # the last line was cut short by a kill
                tail.write("\n")
        checkpoint.tidy(self.checkpoints)
        write_json(known, data)
        if not (keep and file.is_file()):
            write_text(file, recipe.dump())
        write_json(self.path / "env.json", environment())

    def log(self, event: Facts) -> None:
        """Append one line to log.jsonl."""
        try:
            with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"time": round(time.time(), 3), **event}) + "\n")
        except OSError as error:
            raise disk_trouble(error, self.path / "log.jsonl") or error from error

    def events(self, kind: str | None = None) -> list[Json]:
        """The log's lines, without a last line that was cut short by a kill."""
        file = self.path / "log.jsonl"
        rows = []
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return [row for row in rows if kind is None or row.get("event") == kind]

    def preview(self, images: int, picture: Image.Image) -> Path:
        """Write samples/000120000.png."""
        path = self.samples / f"{images:09d}.png"
        with aside(path) as temporary:
            picture.save(temporary, format="PNG")
        return path


def environment() -> Json:
    """Versions and device, to repeat the run."""
    import torch

    packages = ("sfumato", "torch", "numpy", "accelerate", "safetensors", "pillow")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "packages": {name: _version(name) for name in packages},
    }


def _version(name: str) -> str | None:
    """A package's version, None if it is not installed: sfumato may be run from a checkout."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def _difference(old: object, new: object, prefix: str = "") -> str | None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in new:
            dotted = prefix + key
            if dotted in CHANGEABLE or dotted in ("sample", "judge"):
                continue
            if (difference := _difference(old.get(key), new[key], f"{dotted}.")) is not None:
                return difference
        return None
    return None if old == new else f"{prefix[:-1]} is {old}, not {new}"
