"""How much noise a photo has, if nobody says: also for the correlated noise that cameras and JPEG leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 16  # second-level coefficients a side
QUIET = 0.25  # share of the blocks that are believed, the smoothest ones
MOSTLY = 0.3  # saturated share from which a block says little
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
        if not self.sigma:
            return "no noise found"
        kind = "white" if self.fine > 0.8 * self.coarse else "correlated, as cameras and JPEG leave it"
        return f"noise of sigma {self.sigma:.3f} ({255 * self.sigma:.1f} of 255), {kind}"


def estimate(picture: np.ndarray) -> Estimate:
    """The noise in a picture, float (H, W, C) in [0, 1].

    Diagonal Haar details of the first and second level (Donoho and Johnstone 1994 take their median), here in the
    quarter of the blocks where they are lowest, which are the smooth ones; corrected for that choice and for the part
    of saturated pixels, whose noise is cut off. Blocks that are mostly saturated or all of one tone, as bars and burnt
    skies are, say nothing and do not count while others do.
    """
    found: list[float] = []
    level: np.ndarray = picture.astype(np.float32)
    lost: np.ndarray = ((level <= 0) | (level >= 1)).astype(np.float32)
    saturated = 0.0
    for _ in range(2):
        height, width = level.shape[0] // 2 * 2, level.shape[1] // 2 * 2
        if not height or not width:
            break
        a, b, c, d = (level[y:height:2, x:width:2] for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)))
        lost = np.mean([lost[y:height:2, x:width:2] for y, x in ((0, 0), (0, 1), (1, 0), (1, 1))], axis=0)
        detail, level = (a - b - c + d) / 2, (a + b + c + d) / 2
        bands = [_quiet(detail[:, :, k], lost[:, :, k]) for k in range(detail.shape[2])]
        found.append(float(np.mean([band[0] for band in bands])))
        saturated = max(saturated, float(np.mean([band[1] for band in bands])))
    first = found[0] if found else 0.0
    second = found[1] if len(found) > 1 else first
    lift = 1 / (1 - min(saturated, 0.5))
    return Estimate(min(1.0, OVERSTATED * lift * max(first, second)), first, second)


def _quiet(detail: np.ndarray, lost: np.ndarray) -> tuple[float, float]:
    """The standard deviation of a detail band's noise, and the saturated share of what it was read from."""
    height, width = detail.shape
    tall, wide = height // BLOCK, width // BLOCK
    if tall * wide < 4:
        return float(np.median(np.abs(detail)) / MAD), float(lost.mean())
    blocks, gone = (
        each[: tall * BLOCK, : wide * BLOCK].reshape(tall, BLOCK, wide, BLOCK).swapaxes(1, 2).reshape(tall * wide, -1)
        for each in (np.abs(detail), lost)
    )
    telling = gone.mean(1) < MOSTLY
    flat = blocks.max(1) == 0
    telling &= ~flat if flat.mean() < 0.5 else True  # more of it is a drawing, and has no noise
    if telling.any():
        blocks, gone = blocks[telling], gone[telling]
    spread = np.median(blocks, axis=1) / MAD
    kept = np.argsort(spread)[: max(1, round(QUIET * len(spread)))]
    return float(np.mean(spread[kept]) / _bias(BLOCK * BLOCK)), float(gone.mean())


def _bias(count: int) -> float:
    """The mean of the lowest quarter of medians of `count` numbers, over their true value: 1 - 1.27 standard errors."""
    return 1 - 1.27 * 1.167 / np.sqrt(count)
