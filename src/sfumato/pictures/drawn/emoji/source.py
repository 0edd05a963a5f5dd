"""The scenes of emoji as a source of pictures."""

from __future__ import annotations

import functools
import hashlib

import numpy as np

from sfumato.pictures.decode import Header
from sfumato.pictures.drawn.emoji.scene import nth
from sfumato.pictures.drawn.emoji.things import font_digest
from sfumato.pictures.source import Item, sides
from sfumato.progress import Advance
from sfumato.recipe.sections import Data

VERSION = 2  # of the drawing code; part of the fingerprint
SIDE, TRAIN, TEST = 64, 60_000, 2_000


def draw(split: str, index: int, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Picture `index` of a split, uint8 (H, W, 3)."""
    scene, _, jitter = nth(split, index)
    return scene.draw(size, jitter)


class EmojiSource:
    """The data set as a source, drawn at `data.image_size`, 64 x 64 if that is left out. Raises UserError: no font."""

    def __init__(self, data: Data) -> None:
        self.name = "emoji"
        self.splits: tuple[str, ...] = ("train", "test")
        self.label_names: list[str] = []
        self.refused: dict[str, str] = {}
        self.ignored: dict[str, int] = {}
        self.notes: list[str] = []
        self.size = sides(data) or (SIDE, SIDE)
        self.stamp = f"emoji {VERSION} {self.size} {font_digest()}"

    def fingerprint(self, progress: Advance | None = None) -> str:
        return hashlib.sha256(f"{self.stamp} {TRAIN} {TEST}".encode()).hexdigest()

    def items(self, split: str) -> list[Item]:
        return [self._item(split, index) for index in range(TRAIN if split == "train" else TEST)]

    def _item(self, split: str, index: int) -> Item:
        scene, mention, _ = nth(split, index)
        return Item(
            key=f"{split}/{index:06d}",
            label=None,
            caption=scene.caption(mention),
            digest=hashlib.sha256(f"{self.stamp} {split}/{index}".encode()).hexdigest(),
            read=functools.partial(draw, split, index, self.size),
            header=functools.partial(Header, *self.size, "RGB"),
        )
