"""Decoded pictures in a memory-mapped file of the cache, whose name is a hash of their content."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.pictures.build import FORMAT, MANIFEST, PIXELS, build
from sfumato.pictures.cache import cache_folder
from sfumato.pictures.choose import chosen_items, headers
from sfumato.pictures.drawn.emoji.drawn import drawn_store
from sfumato.pictures.lookup import open_source
from sfumato.pictures.scan import Report, report
from sfumato.pictures.source import Lexicon
from sfumato.pictures.stored import Pictures, Store
from sfumato.progress import Advance
from sfumato.recipe.sections import Data

NOT_OF_PIXELS = {"source", "condition", "flip", "captions"}


def open_store(data: Data, progress: Advance | None = None) -> Store:
    """The pictures of a recipe, decoded on first use and mapped from the cache after that.

    A store's name is a SHA-256 over the content of every picture, label and caption, the fields of `data` that
    change pixels, and the format. `progress(done, total)` is called while files are read, and again while
    they are decoded. A store is built in a temporary folder and renamed; a second process waits for the first.

    Raises UserError if there are fewer than two different pictures, sizes that differ with no
    `data.image_size`, labels that do not exist, or no room.
    """
    if data.count is not None:
        return _drawn(data, data.count)
    with _quiet():
        return _open(data, progress)


def _drawn(data: Data, count: int) -> Store:
    if data.source != "emoji":
        raise UserError(f"data.count needs the source emoji, not {data.source}: set data.count=null")
    return drawn_store(data, count)


def survey(data: Data, progress: Advance | None = None) -> Report:
    """The report from the files' headers alone, without decoding. Raises UserError."""
    with _quiet():
        source = open_source(data.source, data)
        source.fingerprint(progress)
        chosen = chosen_items(source, data)
        return report(source.name, chosen, headers(chosen, data)).include(source)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Pillow's warnings about broken files, which are in the report."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _open(data: Data, progress: Advance | None) -> Store:
    source = open_source(data.source, data)
    digest = _address(source.fingerprint(progress), data)
    folder = cache_folder() / "stores" / digest[:32]
    store = _load(folder, digest)
    if store is None:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / f"{folder.name}.lock"):
                store = _load(folder, digest)  # another process may have built it meanwhile
                if store is None:
                    shutil.rmtree(folder, ignore_errors=True)
                    build(source, data, digest, folder, progress)
                    store = _load(folder, digest)
        except OSError as error:
            raise UserError(
                f"cannot keep decoded pictures in {folder.parent} ({error.strerror or error}): "
                f"free some space, or set SFUMATO_CACHE to another folder"
            ) from error
        if store is None:
            raise UserError(f"{folder} was changed while it was built: run again")
    store.report.name = source.name
    store.report.include(source)
    return replace(store, known=source.known, synonyms=source.synonyms) if isinstance(source, Lexicon) else store


def address(data: Data) -> str:
    """The digest that `open_store` gives a store of these pictures; nothing is decoded. Raises UserError."""
    with _quiet():
        return _address(open_source(data.source, data).fingerprint(None), data)


def _address(fingerprint: str, data: Data) -> str:
    fields = data.model_dump(mode="json", exclude=NOT_OF_PIXELS, exclude_defaults=True)
    if data.labels is not None:
        fields["labels"] = sorted(set(data.labels))
    content = {"format": FORMAT, "pictures": fingerprint, "data": fields}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _load(folder: Path, digest: str) -> Store | None:
    """The store in a folder, or None if it is missing or incomplete."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        about: Json = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if about["format"] != FORMAT or about["digest"] != digest:
            return None
        channels, height, width = about["shape"]
        shape = (len(about["keys"]), channels, height, width)
        path = folder / PIXELS
        if path.stat().st_size != int(np.prod(shape)):
            return None
        # copy on write: torch needs a writable array, and the file must not change
        pixels = torch.from_numpy(np.memmap(path, np.uint8, mode="c", shape=shape))
        held_out, captions = about["held_out"], about["captions"]
        labels = torch.tensor(about["labels"], dtype=torch.int64)

        def part(rows: slice) -> Pictures:
            texts = None if captions is None else captions[rows]
            return Pictures(pixels[rows], labels[rows], about["label_names"], texts, about["keys"][rows])

        return Store(
            part(slice(held_out, None)),
            part(slice(0, held_out)),
            digest,
            Report.from_json(about["report"]),
            (channels, height, width),
        )
    return None
