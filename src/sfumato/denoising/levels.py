"""The noise level of pictures: read by a cleaner that can, else estimated from the picture alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sfumato.denoising import noise as noises
from sfumato.denoising.arrays import take
from sfumato.denoising.cleaner import Cleaner
from sfumato.diffusion.level import Level

CELL = 8  # a gauge takes sides that are multiples of it
PARTS = 8  # along each side of a large photo, of the parts that a gauge reads
LOW, HIGH = 1e-3, 2.0  # noise in [-1, 1] scale that a gauge is believed


class Gauge(Protocol):
    """A network that reads ln sigma of the noise on pictures (N, C, H, W) in [-1, 1] scale.

    side: of the squares that it reads of a large picture, in pixels; 0: it reads pictures whole.
    """

    side: int

    def votes(self, x: Tensor) -> Tensor:
        """(N, 2): the sum over places of weight times ln sigma, and of the weights. Votes of parts are added."""


def estimated(cleaner: Cleaner, y: Tensor) -> Level:
    """One level a picture, (N, C, H, W) in [-1, 1] scale, as the cleaner reads it, or `noise.estimate`."""
    if cleaner.part is not None and y.shape[1] in (1, cleaner.channels):
        return level_of_pictures(cleaner, y)
    found = [noises.estimate((x.permute(1, 2, 0).cpu().numpy() + 1) / 2).sigma for x in y]
    return Level.of(2 * torch.tensor(found, dtype=torch.float64))


def level_of_pictures(cleaner: Cleaner, y: Tensor) -> Level:
    """The level of each picture, (N, C, H, W) in [-1, 1] scale, C = 1 or the cleaner's, as the cleaner reads it.

    Raises UserError if it reads none.
    """
    y = y.expand(-1, cleaner.channels, -1, -1) if y.shape[1] == 1 else y
    if not cleaner.part:
        return cleaner.read_level([y])
    return cleaner.read_level(y[..., rows, columns] for rows, columns in parts(y.shape[-2:], cleaner.part))


def level_of_photo(cleaner: Cleaner, pixels: np.ndarray) -> float:
    """Sigma, where white is 1, of a picture (H, W, C) as the cleaner reads it; from parts of a large one, which is
    never in memory as floats. Raises UserError if it reads none.
    """

    def taken() -> Iterator[Tensor]:
        whole = [(slice(None), slice(None))]
        for rows, columns in parts(pixels.shape, cleaner.part) if cleaner.part else whole:
            y = take(pixels[rows, columns]).x.to(cleaner.device)
            yield y.expand(-1, cleaner.channels, -1, -1) if y.shape[1] == 1 else y

    return float(cleaner.read_level(taken()).sigma[0] / 2)


def parts(shape: Sequence[int], side: int) -> list[tuple[slice, slice]]:
    """Squares of `side` spread evenly over a picture (H, W, ...), PARTS along each side at most; small ones whole."""
    spans = []
    for length in shape[:2]:
        count = min(PARTS, math.ceil(length / side))
        starts = np.linspace(0, max(0, length - side), count).astype(int).tolist()
        spans.append([slice(start, min(length, start + side)) for start in starts])
    return [(rows, columns) for rows in spans[0] for columns in spans[1]]


@torch.no_grad()
def read(gauge: Gauge, seen: Iterable[Tensor]) -> Level:
    """The level of each of N pictures by the votes of their parts, each (N, C, h, w)."""
    total = torch.stack([gauge.votes(_wrapped(_whole_cells(y) if gauge.side else y)).double() for y in seen]).sum(0)
    return Level.of((total[:, 0] / total[:, 1]).exp().clamp(LOW, HIGH).cpu())


def _whole_cells(y: Tensor) -> Tensor:
    height, width = (side - side % CELL if side >= 2 * CELL else side for side in y.shape[-2:])
    return y[..., :height, :width]


def _wrapped(y: Tensor) -> Tensor:
    """With sides that are multiples of CELL, 2 CELL at least, made longer by what is at the other end."""
    height, width = y.shape[-2:]
    down, right = (max(-side % CELL, 2 * CELL - side) for side in (height, width))
    if not down and not right:
        return y
    return y[:, :, torch.arange(height + down) % height][..., torch.arange(width + right) % width]
