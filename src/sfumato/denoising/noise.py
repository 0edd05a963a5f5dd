"""An estimate of a photo's noise, also of the correlated noise of cameras and JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 16  # coefficients along a block's side
QUIET = 0.25  # share of the blocks that are used, the smoothest ones
MOSTLY = 0.3  # blocks with a larger saturated share are not used
MAD = 0.6745  # median of |n| of a standard normal number
OVERSTATED = 1.05
"""Factor of the estimate: too little denoising is worse than too much."""


@dataclass(frozen=True)
class Estimate:
    """sigma: to denoise with, on pictures in [0, 1]; fine, coarse: sigma of single pixels and of groups of 2 x 2.
    For white noise both are equal; if fine is lower, the noise is correlated, as after demosaicing and JPEG.
    """

    sigma: float
    fine: float
    coarse: float

    def words(self) -> str:
        if not self.sigma:
            return "no noise detected"
        kind = "white" if self.fine > 0.8 * self.coarse else "correlated, as from cameras and JPEG"
        return f"noise of sigma {self.sigma:.3f} ({255 * self.sigma:.1f} of 255), {kind}"


def estimate(picture: np.ndarray) -> Estimate:
    """The noise in a picture, float (H, W, C) in [0, 1].

    The median of diagonal Haar details of the first and second level (Donoho and Johnstone 1994), in the quarter of the
    blocks where it is lowest, which are the smooth ones; corrected for that choice and for the share of saturated
    pixels, whose noise is clipped. Blocks that are mostly saturated or all of one tone, such as black bars and
    overexposed skies, are not used if there are others.
    """
    bands_sigma: list[float] = []
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
        bands_sigma.append(float(np.mean([band[0] for band in bands])))
        saturated = max(saturated, float(np.mean([band[1] for band in bands])))
    first = bands_sigma[0] if bands_sigma else 0.0
    second = bands_sigma[1] if len(bands_sigma) > 1 else first
    lift = 1 / (1 - min(saturated, 0.5))
    return Estimate(min(1.0, OVERSTATED * lift * max(first, second)), first, second)


def _quiet(detail: np.ndarray, lost: np.ndarray) -> tuple[float, float]:
    """The standard deviation of the noise in a band of details, and the saturated share of the blocks used."""
    height, width = detail.shape
    tall, wide = height // BLOCK, width // BLOCK
    if tall * wide < 4:
        return float(np.median(np.abs(detail)) / MAD), float(lost.mean())
    blocks, gone = (
        each[: tall * BLOCK, : wide * BLOCK].reshape(tall, BLOCK, wide, BLOCK).swapaxes(1, 2).reshape(tall * wide, -1)
        for each in (np.abs(detail), lost)
    )
    used = gone.mean(1) < MOSTLY
    flat = blocks.max(1) == 0
    used &= ~flat if flat.mean() < 0.5 else True  # a picture with more flat blocks is a drawing without noise
    if used.any():
        blocks, gone = blocks[used], gone[used]
    spread = np.median(blocks, axis=1) / MAD
    kept = np.argsort(spread)[: max(1, round(QUIET * len(spread)))]
    return float(np.mean(spread[kept]) / _bias(BLOCK * BLOCK)), float(gone.mean())


def _bias(count: int) -> float:
    """The mean of the lowest quarter of medians of `count` numbers over their true value: 1 - 1.27 standard errors."""
    return 1 - 1.27 * 1.167 / np.sqrt(count)
