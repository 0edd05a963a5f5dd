"""Clipped noise, as in every picture file, and a correction for denoisers that were trained on unclipped noise."""

from __future__ import annotations

import torch
from torch import Tensor

from sfumato.diffusion.level import Level, fit


def clipped_noise(x0: Tensor, noise: Tensor, level: Level, clip: Tensor) -> Tensor:
    """The noise of pictures after clipping: x0 + ratio * (the result) is x0 + ratio * noise clipped to [-1, 1].

    x0: (N, C, H, W) in [-1, 1]; noise: standard normal, of the same shape; level: (N,), ratio = sigma / alpha; clip:
    bool (N,), the pictures to clip; for all others the noise is returned as it is.
    """
    ratio = fit(level.ratio, x0)
    cut = ((x0 + ratio * noise).clamp(-1, 1) - x0) / ratio
    return torch.where(clip.view(-1, 1, 1, 1), cut, noise)


def unclipped(guess: Tensor, y: Tensor, level: Level) -> Tensor:
    """Clipped pictures y, with saturated values replaced by their expected values without clipping.

    A value y = 1 is replaced by E[z | z > 1] for z from N(guess, sigma^2), and y = -1 likewise: the expectation step
    for censored data (Dempster et al. 1977). guess: the output of a first call of the denoiser, (N, C, H, W); y: noisy
    pictures, (N, C, H, W) in [-1, 1]; level: at alpha = 1. The denoiser is then called a second time on the result.
    """
    sigma = fit(level.ratio, y)
    guess = guess.clamp(-1, 1)
    filled = torch.where(y >= 1, guess + sigma * _mills((1 - guess) / sigma), y)
    return torch.where(y <= -1, guess - sigma * _mills((1 + guess) / sigma), filled)


def _mills(a: Tensor) -> Tensor:
    """phi(a) / (1 - Phi(a)): the mean of a standard normal number above a; a >= 0."""
    scaled = torch.special.erfcx(a.double() / 2**0.5)
    return (((2 / torch.pi) ** 0.5) / scaled).to(a.dtype)
