"""The noise level of pictures: read by the cleaner's gauge if it has one, else estimated from the finest details."""

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

CELL = 8  # sides of a gauge's input are multiples of it
PARTS = 8  # number of parts that a gauge reads along each side of a large photo
LOW, HIGH = 1e-3, 2.0  # a gauge's result is clamped to this range, in [-1, 1] scale


class Gauge(Protocol):
    """A network that reads ln sigma of the noise on pictures (N, C, H, W) in [-1, 1] scale.

    side: of the squares of a large picture that it reads, in pixels; 0: it needs whole pictures.
    """

    side: int

    def votes(self, x: Tensor) -> Tensor:
        """(N, 2): the sum over places of weight times ln sigma, and of the weights. Votes of parts are added."""


def estimated(cleaner: Cleaner, y: Tensor) -> Level:
    """One level per picture, (N, C, H, W) in [-1, 1] scale, by the cleaner's gauge, or else by `noise.estimate`."""
    if cleaner.part is not None and y.shape[1] in (1, cleaner.channels):
        return level_of_pictures(cleaner, y)
    sigmas = [noises.estimate((x.permute(1, 2, 0).cpu().numpy() + 1) / 2).sigma for x in y]
    return Level.of(2 * torch.tensor(sigmas, dtype=torch.float64))


def level_of_pictures(cleaner: Cleaner, y: Tensor) -> Level:
    """The level of each picture, (N, C, H, W) in [-1, 1] scale, C = 1 or the cleaner's, by the cleaner's gauge.

    Raises UserError if it has none.
    """
    y = y.expand(-1, cleaner.channels, -1, -1) if y.shape[1] == 1 else y
    if not cleaner.part:
        return cleaner.read_level([y])
    return cleaner.read_level(y[..., rows, columns] for rows, columns in parts(y.shape[-2:], cleaner.part))


def level_of_photo(cleaner: Cleaner, pixels: np.ndarray) -> float:
    """Sigma, where white is 1, of a picture (H, W, C) by the cleaner's gauge, from parts of a large one, so that it is
    never in memory as floats. Raises UserError if it has no gauge.
    """

    def taken() -> Iterator[Tensor]:
        whole = [(slice(None), slice(None))]
        for rows, columns in parts(pixels.shape, cleaner.part) if cleaner.part else whole:
            y = take(pixels[rows, columns]).x.to(cleaner.device)
            yield y.expand(-1, cleaner.channels, -1, -1) if y.shape[1] == 1 else y

    return float(cleaner.read_level(taken()).sigma[0] / 2)


def parts(shape: Sequence[int], side: int) -> list[tuple[slice, slice]]:
    """Squares of `side` spread evenly over a picture (H, W, ...), at most PARTS a side; a small picture whole."""
    spans = []
    for length in shape[:2]:
        count = min(PARTS, math.ceil(length / side))
        starts = np.linspace(0, max(0, length - side), count).astype(int).tolist()
        spans.append([slice(start, min(length, start + side)) for start in starts])
    return [(rows, columns) for rows in spans[0] for columns in spans[1]]


@torch.no_grad()
def read(gauge: Gauge, parts: Iterable[Tensor]) -> Level:
    """The level of each of N pictures by the votes of their parts, each (N, C, h, w)."""
    total = torch.stack([gauge.votes(_wrapped(_whole_cells(y) if gauge.side else y)).double() for y in parts]).sum(0)
    return Level.of((total[:, 0] / total[:, 1]).exp().clamp(LOW, HIGH).cpu())


def _whole_cells(y: Tensor) -> Tensor:
    height, width = (side - side % CELL if side >= 2 * CELL else side for side in y.shape[-2:])
    return y[..., :height, :width]


def _wrapped(y: Tensor) -> Tensor:
    """Padded to sides that are multiples of CELL and at least 2 CELL, with pixels from the opposite side."""
    height, width = y.shape[-2:]
    down, right = (max(-side % CELL, 2 * CELL - side) for side in (height, width))
    if not down and not right:
        return y
    return y[:, :, torch.arange(height + down) % height][..., torch.arange(width + right) % width]
