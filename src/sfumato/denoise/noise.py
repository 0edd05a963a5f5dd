"""How much noise a photo has, if nobody says: also for the correlated noise that cameras and JPEG leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 16  # second-level coefficients a side
QUIET = 0.25  # share of the blocks that are believed, the smoothest ones
MAD = 0.6745  # median of |n| of a standard normal number
OVERSTATED = 1.05
"""Too little denoising costs more than too much: anchors of the field put the factor at 1.5 to 2.5."""


@dataclass(frozen=True)
class Estimate:
    """sigma: to denoise with, on pictures in [0, 1]; fine, coarse: what pixels and groups of 2 x 2 pixels show. With
    white noise both are equal; where fine is lower, the noise is correlated, as demosaicing and JPEG leave it.
    """

    sigma: float
    fine: float
    coarse: float

    def words(self) -> str:
        kind = "white" if self.fine > 0.8 * self.coarse else "correlated, as cameras and JPEG leave it"
        return f"noise of sigma {self.sigma:.3f} ({255 * self.sigma:.1f} of 255), {kind}"


def estimate(picture: np.ndarray) -> Estimate:
    """The noise in a picture, float (H, W, C) in [0, 1].

    Diagonal Haar details of the first and second level (Donoho and Johnstone 1994 take their median), here in the
    quarter of the blocks where they are lowest, which are the smooth ones; corrected for that choice and for the part
    of saturated pixels, whose noise is cut off.
    """
    fine: list[float] = []
    coarse: list[float] = []
    level: np.ndarray = picture.astype(np.float32)
    saturated = float(((level <= 0) | (level >= 1)).mean())
    for found in (fine, coarse):
        height, width = level.shape[0] // 2 * 2, level.shape[1] // 2 * 2
        if not height or not width:
            break
        a, b, c, d = (level[y:height:2, x:width:2] for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)))
        detail, level = (a - b - c + d) / 2, (a + b + c + d) / 2
        found += [_quiet(detail[:, :, k]) for k in range(detail.shape[2])]
    first = float(np.mean(fine)) if fine else 0.0
    second = float(np.mean(coarse)) if coarse else first
    lift = 1 / (1 - min(saturated, 0.5))
    return Estimate(min(1.0, OVERSTATED * lift * max(first, second)), first, second)


def _quiet(detail: np.ndarray) -> float:
    """The standard deviation of a detail band's noise."""
    height, width = detail.shape
    tall, wide = height // BLOCK, width // BLOCK
    if tall * wide < 4:
        return float(np.median(np.abs(detail)) / MAD)
    blocks = detail[: tall * BLOCK, : wide * BLOCK].reshape(tall, BLOCK, wide, BLOCK).swapaxes(1, 2)
    spread = np.median(np.abs(blocks.reshape(tall * wide, -1)), axis=1) / MAD
    kept = np.sort(spread)[: max(1, round(QUIET * len(spread)))]
    return float(np.mean(kept) / _bias(BLOCK * BLOCK))


def _bias(count: int) -> float:
    """The mean of the lowest quarter of medians of `count` numbers, over their true value: 1 - 1.27 standard errors."""
    return 1 - 1.27 * 1.167 / np.sqrt(count)
