"""The training loss: the weighted squared error of D at random levels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Coefficients, Preconditioned
from sfumato.diffusion.level import Level, fit

Weighting = Callable[[Level, Coefficients, float], Tensor]


def _uniform(level: Level, c: Coefficients, sigma_data: float) -> Tensor:
    """1 on the error of the network's output; for prediction epsilon, DDPM's loss (Ho et al. 2020, eq. 14)."""
    return torch.ones_like(c.out)


def _min_snr_5(level: Level, c: Coefficients, sigma_data: float) -> Tensor:
    """min(SNR, 5) on the error of x0 (Hang et al. 2023, section 3.4)."""
    return level.snr.clamp_max(5.0) * c.out.square()


def _edm(level: Level, c: Coefficients, sigma_data: float) -> Tensor:
    """(sigma^2 + sigma_data^2) / (sigma sigma_data)^2 on the error of x0 (Karras et al. 2022, table 1)."""
    a, s = level.alpha, level.sigma
    return (s * s + (a * sigma_data).square()) / (s * sigma_data).square() * c.out.square()


def _root_snr(level: Level, c: Coefficients, sigma_data: float) -> Tensor:
    """alpha / sigma on the error of x0: the geometric mean of 1 (mostly high noise) and SNR (mostly low noise)."""
    return level.ratio.reciprocal() * c.out.square()


def _psnr(level: Level, c: Coefficients, sigma_data: float) -> Tensor:
    """(1 + sigma_data / r) / r on the error of x0, r = sigma / alpha: relative errors count equally at all levels.

    The squared error of good denoisers on photos is about r^2 / (1 + r / 0.016). FFDNet (Zhang et al. 2018) has 33.87,
    31.21 and 27.96 dB on CBSD68 with noise of 15, 25 and 50 of 255; this formula gives 33.8, 31.4 and 28.2 dB. The
    weight is the inverse of this error, up to a factor, with sigma_data = 0.016.
    """
    return (1 + sigma_data / level.ratio) / level.ratio * c.out.square()


WEIGHTINGS: dict[str, Weighting] = {
    "uniform": _uniform, "min-snr-5": _min_snr_5, "root-snr": _root_snr, "psnr": _psnr, "edm": _edm,
}  # fmt: skip


def denoising_loss(
    denoiser: Preconditioned,
    weighting: str,
    x0: Tensor,
    noise: Tensor,
    level: Level,
    cond: Condition | None = None,
    target: Tensor | None = None,
) -> Tensor:
    """The loss of each picture, (N,): the weighted mean squared error of the network's output at `level`.

    weighting: a key of WEIGHTINGS; x0: clean pictures, (N, C, H, W) in [-1, 1]; noise: standard normal, of the same
    shape; level: (N,); cond: N rows; target: the target of D, (N, C, H, W), x0 if left out. The error is computed on
    the network's output and not on D, because its size is similar at every level. Raises KeyError for an unknown
    weighting.
    """
    x = level.mix(x0, noise)
    output, c = denoiser.raw(x, level, cond)
    output_target = ((x0 if target is None else target) - fit(c.skip, x0) * x) / fit(c.out, x0)
    weight = WEIGHTINGS[weighting](level, c, denoiser.sigma_data)
    return (output - output_target).square().flatten(1).mean(1) * fit(weight, x0).flatten()
