"""Many scenes drawn at once, on any device: one tensor holds all glyphs, and each pixel of a picture is one look-up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sfumato.pictures.drawn.emoji.scene import BACKGROUNDS, PAIR, SIZES, SMALL, THIRD, Jitter, Scene, corner
from sfumato.pictures.drawn.emoji.things import stamp, things

SLOTS, LEAST = 3, 16  # most things in a scene; least side in pixels, below which things would overlap
AT_ONCE = {"cpu": 2**18}  # pixels drawn together: what fits into a processor's cache
OTHERWISE = 2**23  # the same on a GPU: about half a gigabyte of its memory


@dataclass(frozen=True)
class Layout:
    """The positions of everything in N scenes of one size; small, so that millions can be kept in memory.

    boxes: int32 (N, 3, 5), for each thing the start of its glyph in the atlas, its top, left, height and width, all 0
    for no thing; backgrounds: uint8 (N, 3), the colours of the backgrounds.
    """

    boxes: Tensor
    backgrounds: Tensor

    def __len__(self) -> int:
        return len(self.backgrounds)

    def __getitem__(self, rows: slice | list[int] | np.ndarray | Tensor) -> Layout:
        return Layout(self.boxes[rows], self.backgrounds[rows])

    def to(self, device: torch.device | str) -> Layout:
        return Layout(self.boxes.to(device, non_blocking=True), self.backgrounds.to(device, non_blocking=True))


class Canvas:
    """Draws scenes as Scene.draw does, bit for bit, side x side, from an atlas of all things in all their sizes.

    The atlas takes 13 MB at 64 px, 54 MB at 128 px. Raises UserError: no font.
    """

    def __init__(self, side: int, device: torch.device | str = "cpu") -> None:
        if side < LEAST:
            raise ValueError(f"side {side}: a canvas has at least {LEAST} pixels a side")
        self.side, self.device = side, torch.device(device)
        self._cuts: dict[tuple[str, int], tuple[int, int, int]] = {}
        pixels = [np.zeros((1, 4), np.uint8)]  # the first pixel is transparent, for places without a thing
        end = 1
        for part, name in itertools.product((*SIZES.values(), PAIR, SMALL, THIRD), things()):
            longer = round(part * side)
            if (name, longer) not in self._cuts:
                glyph = stamp(name, longer)
                self._cuts[name, longer] = end, glyph.shape[0], glyph.shape[1]
                pixels.append(glyph.reshape(-1, 4))
                end += len(pixels[-1])
        packed = np.concatenate(pixels).view(np.int32)[:, 0]  # the four bytes of a pixel as one number
        self._atlas = torch.from_numpy(packed).to(self.device)
        self._white = torch.tensor(
            255.0, device=self.device
        )  # a tensor, because GPUs divide by a Python number less exactly

    def layout(self, scenes: Sequence[tuple[Scene, Jitter]]) -> Layout:
        """The positions of everything in some scenes, on the CPU."""
        boxes = np.zeros((len(scenes), SLOTS, 5), np.int32)
        backgrounds = np.empty((len(scenes), 3), np.uint8)
        size = self.side, self.side
        for k, (scene, jitter) in enumerate(scenes):
            backgrounds[k] = BACKGROUNDS[scene.background]
            for slot, (name, (y, x), longer) in enumerate(scene.places(size, jitter)):
                start, height, width = self._cuts[name, longer]
                boxes[k, slot] = start, corner(y, height), corner(x, width), height, width
        return Layout(torch.from_numpy(boxes), torch.from_numpy(backgrounds))

    def draw(self, layout: Layout) -> Tensor:
        """The pictures, uint8 (N, 3, S, S), on the canvas's device."""
        out = torch.empty((len(layout), 3, self.side, self.side), dtype=torch.uint8, device=self.device)
        step = max(1, AT_ONCE.get(self.device.type, OTHERWISE) // self.side**2)
        for first in range(0, len(layout), step):
            rows = slice(first, first + step)
            out[rows] = self._drawn(layout[rows].to(self.device))
        return out

    def _drawn(self, layout: Layout) -> Tensor:
        index = self._look_up(layout.boxes)
        shown = self._atlas.index_select(0, index.flatten()).view(torch.uint8)
        glyphs = shown.view(*index.shape, 4).permute(0, 3, 1, 2).float() / self._white
        background = (layout.backgrounds.float() / self._white)[:, :, None, None]
        picture = background * (1 - glyphs[:, 3:]) + glyphs[:, :3]
        return picture.clamp_(0, 1).mul_(255).round_().to(torch.uint8)

    def _look_up(self, boxes: Tensor) -> Tensor:
        """The number of the atlas's pixel at each place, int32 (N, S, S)."""
        line = torch.arange(self.side, dtype=torch.int32, device=self.device)
        index = torch.zeros((len(boxes), self.side, self.side), dtype=torch.int32, device=self.device)
        for slot in range(SLOTS):
            start, top, left, height, width = (each[:, None] for each in boxes[:, slot].unbind(1))
            rows = (line >= top) & (line < top + height)
            columns = (line >= left) & (line < left + width)
            at = ((line - top) * width + start - left)[:, :, None] + line
            index = torch.where(rows[:, :, None] & columns[:, None], at, index)
        return index
