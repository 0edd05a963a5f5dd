"""Scenes that are drawn when a batch needs them, on the device that needs them: `data.count` of a recipe."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from sfumato.errors import UserError
from sfumato.pictures.drawn.emoji.canvas import LEAST, Canvas, Layout
from sfumato.pictures.drawn.emoji.known import known
from sfumato.pictures.drawn.emoji.phrases import sentence
from sfumato.pictures.drawn.emoji.scene import nth
from sfumato.pictures.drawn.emoji.source import SIDE, TEST, VERSION
from sfumato.pictures.drawn.emoji.things import font_digest
from sfumato.pictures.drawn.emoji.words import synonyms
from sfumato.pictures.scan import Report
from sfumato.pictures.source import sides
from sfumato.pictures.stored import Pictures, Store
from sfumato.recipe.sections import Data

CHUNK = 4_000  # scenes in one piece of work of a process
MANY = 100_000  # from this number of scenes on several processes are faster


class Drawn:
    """Pictures, uint8 (N, 3, S, S), that are drawn when rows are indexed; only the layout is kept."""

    dtype, ndim = torch.uint8, 4

    def __init__(self, side: int, layout: Layout, device: torch.device | str = "cpu") -> None:
        self.side, self.layout, self.device = side, layout, torch.device(device)
        self.shape = (len(layout), 3, side, side)

    def __len__(self) -> int:
        return len(self.layout)

    def __getitem__(self, rows: int | slice | list[int] | np.ndarray | Tensor) -> Tensor:
        if isinstance(rows, int):
            return self[[rows]][0]
        return canvas(self.side, str(self.device)).draw(self.layout[rows])

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """As `Tensor.index_select`, along the first dimension only."""
        assert dim == 0
        return self[rows]

    def numel(self) -> int:
        """The number of values that are kept in memory."""
        return self.layout.boxes.numel() + self.layout.backgrounds.numel()

    def to(self, device: torch.device | str) -> Drawn:
        return Drawn(self.side, self.layout.to(device), device)

    def split(self, rows: int) -> Iterator[Tensor]:
        return (self[first : first + rows] for first in range(0, len(self), rows))


@functools.lru_cache(maxsize=2)
def canvas(side: int, device: str) -> Canvas:
    """One atlas for each size and device."""
    return Canvas(side, device)


def drawn_store(data: Data, count: int) -> Store:
    """`data.count` training scenes with `data.captions` captions each, and TEST held-out scenes with one caption each.

    Captions k, k + N, ... belong to picture k of N.

    Raises UserError: no font, pictures that are not square or too small, or grey ones or labels.
    """
    height, width = sides(data) or (SIDE, SIDE)
    if height != width:
        raise UserError(f"data.image_size: scenes are square, not {height} x {width}")
    if height < LEAST:
        raise UserError(f"data.image_size={height}: scenes of data.count have at least {LEAST} pixels a side")
    for key, value in (("grey", data.grey), ("labels", data.labels)):
        if value:
            raise UserError(f"data.{key}: scenes of data.count are in colour and have no labels; leave it out")
    train = _pictures("train", count, height, data.captions)
    held_out = _pictures("test", TEST, height, 1)
    facts = f"emoji {VERSION} {height} {count} {data.captions} {font_digest()}"
    report = Report("emoji", splits={"train": count, "test": TEST}, captions=count + TEST)
    digest = hashlib.sha256(facts.encode()).hexdigest()
    return Store(train, held_out, digest, report, (3, height, width), known(), synonyms())


@functools.lru_cache(maxsize=4)
def _pictures(split: str, count: int, side: int, captions: int) -> Pictures:
    parts = list(_laid_out(split, count, side, captions))
    layout = Layout(torch.cat([each.boxes for each, _ in parts]), torch.cat([each.backgrounds for each, _ in parts]))
    every = [caption for k in range(captions) for _, texts in parts for caption in texts[k]]
    labels, keys = torch.full((count,), -1), [f"{split}/{k:06d}" for k in range(count)]
    return Pictures(Drawn(side, layout), labels, [], every, keys)


def _laid_out(split: str, count: int, side: int, captions: int) -> Iterator[tuple[Layout, list[list[str]]]]:
    part = functools.partial(_part, split, side, captions)
    rows = [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16)
    if count < MANY or workers < 3:
        yield from map(part, rows)
        return
    with ProcessPoolExecutor(workers - 1, mp_context=get_context("spawn")) as pool:
        with _without_script():  # all processes are started in this call
            laid_out = pool.map(part, rows)
        yield from laid_out


@contextlib.contextmanager
def _without_script() -> Iterator[None]:
    """Keep new processes from running the main script again, which may lack a guard `if __name__ == "__main__"`."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _part(split: str, side: int, captions: int, rows: range) -> tuple[Layout, list[list[str]]]:
    """The layout of some scenes, and `captions` lists of captions, each with one per scene."""
    drawn = [nth(split, index) for index in rows]
    layout = canvas(side, "cpu").layout([(scene, jitter) for scene, _, jitter in drawn])
    texts = [
        [sentence(scene, _random(split, index, k)) for index, (scene, *_) in zip(rows, drawn, strict=True)]
        for k in range(captions)
    ]
    return layout, texts


def _random(split: str, index: int, number: int) -> random.Random:
    digest = hashlib.blake2b(f"caption {split}/{index}/{number}".encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "little"))
