"""Encoded pictures in the rows of an Arrow table: parquet files and the Hub's data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sfumato.pictures.cache import Memory
from sfumato.pictures.decode import Header, PictureError, decode, header
from sfumato.pictures.source import Item
from sfumato.progress import Advance
from sfumato.recipe.sections import Data

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Columns:
    """Which columns hold the picture (struct of bytes and path), the label's number and the caption."""

    image: str
    label: str | None = None
    caption: str | None = None


class TableSource:
    """Rows of tables as pictures; a table is opened only when its rows are needed.

    `files`: the files of a split's table. Their content is the fingerprint, so that a known table need not be opened.
    Without files the rows are hashed.
    """

    def __init__(
        self,
        name: str,
        tables: Mapping[str, Callable[[], pa.Table]],
        files: dict[str, list[Path]],
        columns: Columns,
        label_names: list[str],
        data: Data,
    ) -> None:
        self.name = name
        self.splits: tuple[str, ...] = tuple(tables)
        self.label_names = label_names
        self.refused: dict[str, str] = {}
        self.ignored: dict[str, int] = {}
        self.notes: list[str] = []
        self._tables, self._files, self._columns, self._data = tables, files, columns, data

    def fingerprint(self, progress: Advance | None = None) -> str:
        memory = Memory(self.name)
        parts: list[object] = [
            self._columns.image,
            self._columns.label,
            self._columns.caption,
            self.label_names,
        ]
        for split in self.splits:
            files = self._files.get(split, [])
            parts += [split, *(_digest(path, memory) for path in files)]
            if not files:
                parts += [[item.digest, item.label, item.caption] for item in self.items(split)]
        memory.save({str(path) for files in self._files.values() for path in files})
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def items(self, split: str) -> list[Item]:
        table, columns = self._tables[split](), self._columns
        pictures = table.column(columns.image)
        labels = _texts(table, columns.label, self.label_names)
        captions = _texts(table, columns.caption, [])
        return [
            self._item(f"{split}/{row:06d}", partial(_bytes, pictures, row), label, caption)
            for row, (label, caption) in enumerate(zip(labels, captions, strict=True))
        ]

    def _item(self, key: str, content: Callable[[], bytes], label: str | None, caption: str | None) -> Item:
        try:
            digest = hashlib.sha256(content()).hexdigest()
        except PictureError as error:
            digest = hashlib.sha256(f"{key}: {error}".encode()).hexdigest()
        limit = int(self._data.max_megapixels * 1e6)
        return Item(key, label, caption, digest, partial(_read, content, limit), partial(_header, content))


def _digest(path: Path, memory: Memory) -> str:
    stat = path.stat()
    facts = memory.recall(str(path), stat)
    if facts is None:
        with path.open("rb") as file:
            facts = [hashlib.file_digest(file, "sha256").hexdigest()]
        memory.learn(str(path), stat, facts)
    return str(facts[0])


def _texts(table: pa.Table, column: str | None, names: list[str]) -> list[str | None]:
    """A column as texts; numbers are indices into `names`, those out of range (-1 for unknown) become None."""
    if column is None:
        return [None] * table.num_rows
    texts: list[str | None] = []
    for value in table.column(column).to_pylist():
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, int):
            value = names[value] if 0 <= value < len(names) else None
        texts.append(" ".join(value.split()) or None if isinstance(value, str) else None)
    return texts


def _bytes(pictures: pa.ChunkedArray, row: int) -> bytes:
    value = pictures[row].as_py()
    if not value or (value["bytes"] is None and not value["path"]):
        raise PictureError("the row has no picture")
    if value["bytes"] is not None:
        return bytes(value["bytes"])
    try:
        return Path(value["path"]).read_bytes()
    except (OSError, ValueError) as error:
        raise PictureError("the row's file does not exist") from error


def _read(content: Callable[[], bytes], max_pixels: int) -> np.ndarray:
    return decode(content(), max_pixels=max_pixels)


def _header(content: Callable[[], bytes]) -> Header:
    return header(content())
