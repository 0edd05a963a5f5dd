"""Captions from files beside pictures: `NAME.txt`, `NAME.caption`, the Hub's `metadata.csv` and `metadata.jsonl`."""

from __future__ import annotations

import csv
import json
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sfumato.errors import UserError
from sfumato.files import Json

SIDECARS = (".txt", ".caption")  # of two beside one picture the first is read
METADATA = ("metadata.csv", "metadata.jsonl")
CAPTION_COLUMNS = ("text", "caption", "prompt")
LABEL_COLUMNS = ("label", "class")
LONGEST = 65536  # bytes of a sidecar


class Row(NamedTuple):
    caption: str | None
    label: str | None


def read_metadata(root: Path, files: list[Path], keys: set[str], notes: list[str]) -> dict[str, Row]:
    """Rows of metadata files by picture key; `file_name` is relative to its metadata file.

    Rows of missing pictures are counted in `notes`. Raises UserError naming file and line.
    """
    rows: dict[str, Row] = {}
    for path in sorted(files):
        folder = path.parent.relative_to(root).as_posix()
        absent = []
        for line, values in _lines(path):
            name = values.get("file_name")
            if not isinstance(name, str) or not name:
                raise UserError(f"{path}, line {line}: no file_name")
            key = posixpath.normpath(posixpath.join(folder, name.replace("\\", "/")))
            if key in keys:
                rows[key] = Row(_first(values, CAPTION_COLUMNS), _first(values, LABEL_COLUMNS))
            else:
                absent.append(name)
        if absent:
            notes.append(f"{path.name} names {len(absent)} missing pictures, such as {absent[0]!r}")
    return rows


def read_sidecar(path: Path, key: str, notes: list[str]) -> str | None:
    """The text of a sidecar on one line, None if it is empty; one that cannot be used is noted."""
    try:
        with path.open("rb") as file:
            raw = file.read(LONGEST + 1)
        if len(raw) > LONGEST:
            raise ValueError(f"longer than {LONGEST} bytes")
        return " ".join(raw.decode("utf-8-sig").split()) or None
    except (OSError, ValueError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        notes.append(f"caption of {key} left out: {reason}")
        return None


def beside(pictures: Sequence[Path], notes: list[str]) -> dict[Path, str]:
    """The captions of pictures of one folder, by the same files and rules as a training's.

    A row of metadata counts more than a sidecar. Sidecars of no picture are noted. Raises UserError on broken metadata.
    """
    if not pictures:
        return {}
    folder = pictures[0].parent
    files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    names = {path.name: path for path in pictures}
    rows = read_metadata(folder, [path for path in files if path.name.lower() in METADATA], set(names), notes)
    found = {names[name]: row.caption for name, row in rows.items() if row.caption}
    stems: dict[str, list[Path]] = {}
    for path in pictures:
        stems.setdefault(path.stem, []).append(path)
    texts = sorted((path for path in files if is_sidecar(path)), key=rank)
    for text in texts:
        if text.stem not in stems:
            notes.append(f"{text.name}: no picture has this name")
        for path in stems.get(text.stem, []):
            if path not in found and (caption := read_sidecar(text, path.name, notes)):
                found[path] = caption
    return found


def is_sidecar(path: Path) -> bool:
    return path.suffix.lower() in SIDECARS


def rank(path: Path) -> int:
    """The order in which sidecars of one picture are read."""
    return SIDECARS.index(path.suffix.lower())


def _lines(path: Path) -> Iterator[tuple[int, Json]]:
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                reader = csv.DictReader(file)
                for values in reader:
                    line = reader.line_num
                    yield line, values
                return
            for line, text in enumerate(file, 1):
                if text.strip():
                    values = json.loads(text)
                    if not isinstance(values, dict):
                        raise ValueError("not a JSON object")
                    yield line, values
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"{path}, line {line}: {' '.join(str(error).split())}") from error


def _first(values: Json, columns: tuple[str, ...]) -> str | None:
    for column in columns:
        value = values.get(column)
        if isinstance(value, (str, int)) and (text := " ".join(str(value).split())):
            return text
    return None
