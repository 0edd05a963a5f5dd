"""Building a store: decode every picture once into a temporary folder, then rename it."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sfumato.errors import UserError
from sfumato.files import sync
from sfumato.pictures import choose
from sfumato.pictures.crop import CROPS, channels
from sfumato.pictures.decode import Header, PictureError
from sfumato.pictures.pool import ordered
from sfumato.pictures.scan import noted
from sfumato.pictures.source import Item, Source, sides
from sfumato.progress import Advance
from sfumato.recipe.sections import Data

FORMAT = 1
MANIFEST, PIXELS = "store.json", "pixels.u8"
STALE_SECONDS = 86_400  # a temporary folder of this age belongs to a build that was killed


def build(source: Source, data: Data, digest: str, folder: Path, progress: Advance | None) -> None:
    """Decode a source's pictures into a new store at `folder`, which appears only when it is complete.

    All pixels are in one file, held-out pictures first. Raises UserError.
    """
    chosen = choose.chosen_items(source, data)
    items = [item for part in chosen.values() for item in part]
    heads = choose.headers(chosen, data)
    _check_any_left(source, items, heads)
    size = choose.size_of(source, data, heads)
    count = 1 if data.grey or (data.grey is None and choose.all_grey(heads)) else 3
    order = choose.order_of(chosen, heads)
    _sweep(folder.parent)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    aside.mkdir(parents=True)
    try:
        pieces = _write(aside / PIXELS, items, order, heads, data, size, count, progress)
        _check_any_left(source, items, heads)
        if count == 3 and data.grey is None and _thin(aside / PIXELS, size):
            count = 1
        good = [index for index in order if pieces[index]]
        border = choose.border_of(source, chosen, good, data)
        report = choose.final_report(source, data, chosen, heads, size, sum(pieces))
        report.notes += noted(items)
        report.splits = {"train": len(good) - border, "held out": border}
        names = [name for name in source.label_names if name in report.labels]
        numbers: dict[str | None, int] = {name: number for number, name in enumerate(names)}
        rows = [index for index in good for _ in range(pieces[index])]
        about = {
            "format": FORMAT,
            "digest": digest,
            "shape": [count, *size],
            "held_out": sum(pieces[index] for index in good[:border]),
            "label_names": names,
            "labels": [numbers.get(items[index].label, -1) for index in rows],
            "captions": [items[index].caption or "" for index in rows] if report.captions else None,
            "keys": [key for index in good for key in _keys(items[index].key, pieces[index])],
            "report": report.to_json(),
        }
        (aside / MANIFEST).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        for path in (aside / PIXELS, aside / MANIFEST, aside):
            sync(path)
        aside.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(
    path: Path,
    items: Sequence[Item],
    order: Sequence[int],
    heads: list[Header | PictureError],
    data: Data,
    size: tuple[int, int],
    count: int,
    progress: Advance | None,
) -> list[int]:
    """Decode and append; returns how many pieces each item was cut into, and puts errors in `heads`."""

    def prepare(index: int) -> np.ndarray | PictureError:
        try:
            picture = items[index].read()
            if sides(data) is None and picture.shape[:2] != size:
                raise PictureError(f"is {picture.shape[1]} x {picture.shape[0]}, not what its header claims")
            cut = CROPS[data.crop](picture, size)
            return channels(cut, count)
        except PictureError as error:
            return error
        except OSError as error:
            return PictureError(f"not readable ({error.strerror})")
        except MemoryError:
            return PictureError("not enough memory to decode it")

    pieces = [0] * len(items)
    chunk = min(32, max(1, 2**20 // (3 * size[0] * size[1])))
    with path.open("wb") as file:
        for done, (index, result) in enumerate(zip(order, ordered(prepare, order, chunk), strict=True), 1):
            if isinstance(result, PictureError):
                heads[index] = result
            else:
                file.write(result.data)  # not through a memory map, where a full disk is a signal and no error
                pieces[index] = len(result)
            if progress is not None:
                progress(done, len(order))
    return pieces


def _thin(path: Path, size: tuple[int, int]) -> bool:
    """Rewrite a file of RGB pictures with one channel if all are grey; returns whether they were."""
    pixels = np.memmap(path, np.uint8, mode="r").reshape(-1, 3, *size)
    block = max(1, 2**24 // (3 * size[0] * size[1]))
    parts = [pixels[start : start + block] for start in range(0, len(pixels), block)]
    if any((part[:, :1] != part[:, 1:]).any() for part in parts):
        return False
    thin = path.with_suffix(".thin")
    with thin.open("wb") as file:
        for part in parts:
            file.write(np.ascontiguousarray(part[:, 0]).data)
    del pixels, parts
    thin.replace(path)
    return True


def _keys(key: str, pieces: int) -> list[str]:
    return [key] if pieces == 1 else [f"{key}#{piece}" for piece in range(pieces)]


def _check_any_left(source: Source, items: Sequence[Item], heads: choose.Heads) -> None:
    if all(isinstance(head, PictureError) for head in heads):
        first = f"{items[0].key}: {heads[0]}"
        raise UserError(f"none of the {len(items)} pictures of {source.name} can be used; {first}")


def _sweep(folder: Path) -> None:
    """Remove temporary folders of killed builds."""
    for path in folder.glob(".*.*"):
        if path.is_dir() and time.time() - path.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
