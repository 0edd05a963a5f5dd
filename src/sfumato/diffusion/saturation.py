"""Noise that was clipped, as it is in every picture file, and a correction for denoisers that know pure noise alone."""

from __future__ import annotations

import torch
from torch import Tensor

from sfumato.diffusion.level import Level, fit


def clipped_noise(x0: Tensor, noise: Tensor, level: Level, clip: Tensor) -> Tensor:
    """The noise that is left where `clip` (N,) says that x0 + ratio * noise was cut to [-1, 1].

    x0, noise: (N, C, H, W); level: one a picture. A denoiser of x0 + ratio * clipped_noise sees the clipped picture.
    """
    ratio = fit(level.ratio, x0)
    cut = ((x0 + ratio * noise).clamp(-1, 1) - x0) / ratio
    return torch.where(clip.view(-1, 1, 1, 1), cut, noise)


def unclipped(guess: Tensor, y: Tensor, level: Level) -> Tensor:
    """Clipped y, (N, C, H, W) in [-1, 1] at alpha = 1, with what was cut off filled in.

    The expectation step for censored data: where y is saturated it becomes what an unclipped picture would show there
    on average, the mean of N(guess, sigma^2) beyond the bound. guess: the clean picture as a first call found it. A
    denoiser of pure noise is then called on the result.
    """
    sigma = fit(level.ratio, y)
    guess = guess.clamp(-1, 1)
    filled = torch.where(y >= 1, guess + sigma * _mills((1 - guess) / sigma), y)
    return torch.where(y <= -1, guess - sigma * _mills((1 + guess) / sigma), filled)


def _mills(a: Tensor) -> Tensor:
    """phi(a) / (1 - Phi(a)): the mean of a standard normal number above a; a >= 0."""
    scaled = torch.special.erfcx(a.double() / 2**0.5)
    return (((2 / torch.pi) ** 0.5) / scaled).to(a.dtype)
