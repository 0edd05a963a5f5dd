"""The kit's queue from `kit.yaml`, its folders, and the packages that are packed as wheels."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
TABLE = HERE / "kit.yaml"
SOURCE = HERE.parent / "src"
MARK = "@kit "  # before what a training says to the process that started it
DONE = "kit.done"
DROPPED = ("event", "time", "images", "bands")  # of the line on held-out pictures
NEEDS = ("font", "cifar10", "photo")
CARRIED = ("typing_inspection", "annotated_types", "pydantic_core", "pydantic", "diffusers")  # modules of the wheels


@dataclass(frozen=True)
class Job:
    """One training of the queue; `changes` maps dotted keys of a recipe to values, `gpu` too."""

    name: str
    recipe: str
    group: str
    share: float = 1.0
    after: str | None = None
    needs: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    gpu: dict[str, Any] = field(default_factory=dict)
    export: bool = True

    def overrides(self, device: str, work: Path, data: Path) -> list[str]:
        """`KEY=VALUE` for the recipe."""
        merged = self.changes | (self.gpu if device != "cpu" else {})
        places = {"{work}": str(work.resolve()), "{data}": str(data.resolve())}
        return [f"{key}={_filled(value, places)}" for key, value in merged.items()]


def _filled(value: Any, places: dict[str, str]) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    for name, path in places.items():
        value = value.replace(name, path)
    return value


def read(path: Path = TABLE, only: Sequence[str] = ()) -> list[Job]:
    """The jobs of the table; `only` names jobs or groups. Raises UserError."""
    from sfumato.errors import UserError

    try:
        rows: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
        jobs = [_job(name, dict(row)) for name, row in rows.items()]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a table of jobs ({' '.join(str(error).split())})") from error
    names = {job.name for job in jobs} | {job.group for job in jobs}
    for name in [*only, *(job.after for job in jobs if job.after)]:
        if name not in names:
            raise UserError(f"{path} has no job {name}; it has {', '.join(sorted(names))}")
    return [job for job in jobs if not only or {job.name, job.group} & set(only)]


def _job(name: str, row: dict[str, Any]) -> Job:
    row["changes"] = row.pop("set", None) or {}
    row["needs"] = tuple(row.get("needs") or ())
    if unknown := set(row["needs"]) - set(NEEDS):
        raise ValueError(f"{name} needs {unknown.pop()}: known are {', '.join(NEEDS)}")
    return Job(name, row.pop("recipe"), row.pop("group", name), **row)


def settle(kits: Sequence[Path], work: Path) -> None:
    """Make this checkout's sfumato importable, and the carried wheels if one of their packages is not installed."""
    if str(SOURCE) not in sys.path:
        sys.path.insert(0, str(SOURCE))
    wheels = sorted(file for kit in kits for file in (kit / "wheels").glob("*.whl"))
    site = work / "site"
    if wheels and not site.is_dir() and not all(map(importlib.util.find_spec, CARRIED)):
        part = work / f".site.{os.getpid()}"
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as file:
                file.extractall(part)
        part.replace(site)
    if site.is_dir():  # all of them together, so that versions fit
        sys.path.insert(0, str(site))
        importlib.invalidate_caches()


def events(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; one that a kill cut short is left out."""
    file, rows = run / "log.jsonl", []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def last(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The latest value of every key of a log, `held_out` and `trained`: seconds of training over all its starts."""
    latest: dict[str, Any] = {}
    before = seconds = 0.0
    for row in rows:
        if row["event"] == "start":
            before, seconds = before + seconds, 0.0
        elif row["event"] == "held_out":
            latest |= {"held_out": row["loss"], "figures": {k: v for k, v in row.items() if k not in DROPPED}}
        seconds = row.get("seconds", seconds) if row["event"] in ("report", "end") else seconds
        latest |= {key: value for key, value in row.items() if row["event"] in ("start", "report", "end")}
    return {**latest, "trained": round(before + seconds, 1)}


def finished(work: Path, name: str) -> bool:
    """Whether a run came to its end."""
    return (work / name / DONE).is_file()


def finish(work: Path, name: str) -> None:
    """Remember that a run came to its end."""
    (work / name / DONE).touch()
