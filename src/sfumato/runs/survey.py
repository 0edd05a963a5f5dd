"""Runs on disk: list them, measure them, remove what is no longer needed. Only files that sfumato wrote are removed."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from sfumato.errors import UserError
from sfumato.files import Json, disk_trouble
from sfumato.recipe.recipe import Recipe
from sfumato.runs import checkpoint
from sfumato.runs.folder import RunFolder

RECIPE, CARD = "recipe.yaml", "card.json"
COMPUTED = "prior.safetensors"
"""Of a tuning: computed again, with the same result, if it is missing."""
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
WRITTEN = ("data.json", "env.json", "log.jsonl", "report.html", "report.json")
"""Files of every run folder, besides its recipe, which is removed last: without it a folder is no run."""
OF_TUNING = (COMPUTED, CARD, "verified.json", "README.md", *ADAPTER, "judge/report.html", "judge/report.json")
"""Further files of a tuning; with the same name in the folder of a training they are somebody else's."""
PREVIEW = re.compile(r"\d{9}\.png")


@dataclass(frozen=True)
class RunSummary:
    """A run folder. task: of its recipe; source: of its pictures; state: "running", "finished", "unfinished", or
    "unreadable", with nothing of the recipe; images, total: images seen at the newest checkpoint, and the length of the
    training; batch: images in a step; checkpoints: their number; bytes: of all files; changed: the newest file's time
    in seconds since 1970.
    """

    path: Path
    task: str
    source: str
    state: str
    images: int
    total: int
    batch: int
    checkpoints: int
    bytes: int
    changed: float

    @property
    def progress(self) -> str:
        """As "240 of 240 steps" for a tuning, else "12,000 of 200,000 images"; empty if the run is unreadable."""
        if not self.total:
            return ""
        done, total, unit = self.images, self.total, "images"
        if self.task == "tune":
            done, total, unit = done // self.batch, -(-total // self.batch), "steps"
        return f"{done:,} of {total:,} {unit}"

    def to_json(self) -> Json:
        return {**vars(self), "path": str(self.path)}


def is_run(path: Path) -> bool:
    return (path / RECIPE).is_file()


def runs_in(folder: Path) -> list[RunSummary]:
    """The runs in a folder, the last changed first; the folder itself if it is one.

    Raises UserError if there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give the folder with the runs, or one run")
    paths = [folder] if is_run(folder) else [path for path in folder.iterdir() if path.is_dir() and is_run(path)]
    found = []
    for path in paths:
        try:
            found.append(summary(path))
        except UserError:
            found.append(_measured(path, None))
    return sorted(found, key=lambda run: -run.changed)


def summary(path: Path) -> RunSummary:
    """Raises UserError if the folder is no run, or its recipe cannot be read."""
    if not is_run(path):
        raise UserError(f"{path} is no run folder (it has no {RECIPE}): list them with `sfumato runs`")
    return _measured(path, RunFolder(path).recipe())


def _measured(path: Path, recipe: Recipe | None) -> RunSummary:
    saved = checkpoint.listing(RunFolder(path).checkpoints)
    images = int(saved[-1].name) if saved else 0
    stats = [file.stat() for file in path.rglob("*") if file.is_file()]
    files = (len(saved), sum(stat.st_size for stat in stats), max(stat.st_mtime for stat in stats))
    if recipe is None:
        return RunSummary(path, "", "", "unreadable", images, 0, 1, *files)
    train = recipe.train
    state = _state(path, recipe, images)
    return RunSummary(path, recipe.task, str(recipe.data.source), state, images, train.images, train.batch, *files)


def _state(path: Path, recipe: Recipe, images: int) -> str:
    lock = path / ".lock"
    with contextlib.suppress(OSError):
        if lock.is_file():
            try:
                with FileLock(lock, timeout=0):
                    pass
            except Timeout:
                return "running"
    finished = images >= recipe.train.images and (recipe.task != "tune" or (path / CARD).is_file())
    return "finished" if finished else "unfinished"


def excess(path: Path) -> list[Path]:
    """What a run can do without: leftovers of a killed save, all checkpoints but the newest complete one, and what a
    finished tuning computes again if it is continued. Of a tuning the chosen step is kept too, and until a step is
    chosen all checkpoints. Raises UserError if the recipe cannot be read.
    """
    folder = RunFolder(path)
    recipe, saved = folder.recipe(), checkpoint.listing(folder.checkpoints)
    newest, _ = checkpoint.newest(folder.checkpoints)
    kept = {path.name for path in saved} if newest is None else {newest.path.name}
    computed: list[Path] = []
    if recipe.task == "tune":
        chosen = _chosen(path, recipe)
        kept |= {path.name for path in saved} if chosen is None else {chosen}
        computed = [path / COMPUTED] if chosen is not None and (path / COMPUTED).is_file() else []
    older = [p for p in saved if p.name not in kept and newest is not None and p.name < newest.path.name]
    leftovers = folder.checkpoints.glob(".*.part")
    return [each for each in (*older, *leftovers, *computed) if not each.is_symlink()]


def _chosen(path: Path, recipe: Recipe) -> str | None:
    """The name of the checkpoint that a tuning chose, None if it has not chosen yet."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        images = int(json.loads((path / CARD).read_text(encoding="utf-8"))["step"]) * recipe.train.batch
        return f"{images:0{checkpoint.DIGITS}d}"
    return None


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size


def clean(path: Path) -> int:
    """Remove what `excess` lists; the run can still be used and continued. Returns the bytes that are free again.

    Raises Busy if a process trains in the folder, UserError if a file cannot be removed.
    """
    with RunFolder(path).hold():
        removed = excess(path)
        free = sum(map(size_of, removed))
        for each in removed:
            _remove(each)
    return free


def remove(path: Path) -> list[Path]:
    """Remove a run: all that sfumato wrote, then the folder if nothing else is in it. Returns what was left in it.

    Raises Busy if a process trains in the folder, UserError if it is no run or a file cannot be removed.
    """
    summary(path)
    recipe = RunFolder(path).recipe()
    with RunFolder(path).hold():
        for each in written(path, recipe):
            _remove(each)
        (path / RECIPE).unlink()
    (path / ".lock").unlink(missing_ok=True)
    left = sorted(file for file in path.rglob("*") if not file.is_dir() or file.is_symlink())
    for folder in sorted((p for p in path.rglob("*") if p.is_dir() and not p.is_symlink()), reverse=True):
        with contextlib.suppress(OSError):  # something of somebody's is in it
            folder.rmdir()
    if not left and not path.is_symlink():
        path.rmdir()
    return left


def written(path: Path, recipe: Recipe) -> list[Path]:
    """Files and folders of a run that sfumato wrote, but for its recipe."""
    folder = RunFolder(path)
    files = [path / name for name in WRITTEN]
    if recipe.task == "tune":
        files += [path / name for name in (*OF_TUNING, f"{recipe.name}.safetensors")]
        files += [p for p in path.glob("*/adapter_*") if p.name in ADAPTER]  # of text encoders
    files += [p for p in folder.samples.glob("*") if PREVIEW.fullmatch(p.name)]
    saved = [p for p in folder.checkpoints.glob("*") if p.name.strip(".").removesuffix(".part").isdigit()]
    return [each for each in (*saved, *files) if each.exists() and not each.is_symlink()]


def _remove(path: Path) -> None:
    """A folder is renamed first: what is half removed is no checkpoint."""
    try:
        if not path.is_dir():
            path.unlink()
            return
        hidden = path.with_name(f".{path.name.strip('.').removesuffix('.part')}.part")
        shutil.rmtree(path.replace(hidden))
    except OSError as error:
        raise disk_trouble(error, path) or UserError(f"cannot remove {path}: {error.strerror or error}") from error
