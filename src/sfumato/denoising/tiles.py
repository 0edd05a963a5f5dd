"""Pictures of any size, tile by tile, with the same result as for the whole picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level

TILE = 1024


def mirrored(x: Tensor, bottom: int, right: int) -> Tensor:
    """A picture (..., H, W) with `bottom` more rows and `right` more columns, mirrored at the edge. Repeated pixels
    would be stripes of noise, which a denoiser takes for a part of the picture.
    """
    for axis, more in ((-2, bottom), (-1, right)):
        last = x.shape[axis] - 1
        places = torch.arange(last + 1 + more, device=x.device) % max(2 * last, 1)
        x = x.index_select(axis, torch.where(places > last, 2 * last - places, places))
    return x


class Tiled:
    """A denoiser of pictures of any size, made of one that takes sides that are multiples of `multiple`.

    reach: the distance in pixels beyond which no pixel influences the output. Tiles with sides up to `tile` are
    denoised with that much of the picture around them, so that the result does not depend on their position; at the
    right and bottom edge the picture is mirrored up to the next multiple. progress(done, total) counts tiles.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        reach: int,
        multiple: int,
        tile: int = TILE,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.denoiser, self.multiple, self.progress = denoiser, multiple, progress
        self.tile = math.ceil(max(tile, 1) / multiple) * multiple
        self.halo = math.ceil(reach / multiple) * multiple

    def __call__(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        height, width = x.shape[-2:]
        out = torch.empty_like(x)
        places = [(rows, columns) for rows in self._spans(height) for columns in self._spans(width)]
        for k, ((inner, outer), (inner_, outer_)) in enumerate(places):
            part = self._padded(x[..., outer, outer_])
            done = self.denoiser(part, self._level(level, outer, outer_), cond)
            top, left = inner.start - outer.start, inner_.start - outer_.start
            tall, wide = inner.stop - inner.start, inner_.stop - inner_.start
            out[..., inner, inner_] = done[..., top : top + tall, left : left + wide]
            if self.progress is not None:
                self.progress(k + 1, len(places))
        return out

    def _spans(self, length: int) -> Iterator[tuple[slice, slice]]:
        """For each tile along a side: its own pixels, and those with its surroundings. Tiles start at multiples."""
        count = math.ceil(length / self.tile)
        side = math.ceil(length / count / self.multiple) * self.multiple
        for start in range(0, length, side):
            stop = min(start + side, length)
            yield slice(start, stop), slice(max(0, start - self.halo), min(length, stop + self.halo))

    def _padded(self, x: Tensor) -> Tensor:
        bottom, right = (-side % self.multiple for side in x.shape[-2:])
        return mirrored(x, bottom, right) if bottom or right else x

    def _level(self, level: Level, rows: slice, columns: slice) -> Level:
        if level.sigma.ndim < 4:
            return level
        return Level(*(self._padded(t[..., rows, columns]) for t in (level.alpha, level.sigma)))
