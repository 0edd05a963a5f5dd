"""Clipped noise, as in every picture file, and a correction for denoisers that were trained on unclipped noise."""

from __future__ import annotations

import torch
from torch import Tensor

from sfumato.diffusion.level import Level, fit


def clipped_noise(x0: Tensor, noise: Tensor, level: Level, clip: Tensor) -> Tensor:
    """The noise that is left after x0 + ratio * noise was clipped to [-1, 1], where `clip` (N,) is true.

    x0, noise: (N, C, H, W); level: one per picture. x0 + ratio * clipped_noise is the clipped picture.
    """
    ratio = fit(level.ratio, x0)
    cut = ((x0 + ratio * noise).clamp(-1, 1) - x0) / ratio
    return torch.where(clip.view(-1, 1, 1, 1), cut, noise)


def unclipped(guess: Tensor, y: Tensor, level: Level) -> Tensor:
    """Clipped y, (N, C, H, W) in [-1, 1] at alpha = 1, with saturated values replaced by their expected values.

    The expectation step for censored data: where y is saturated it is replaced by the mean of N(guess, sigma^2) beyond
    the bound. guess: the output of a first call of the denoiser. The denoiser is then called on the result.
    """
    sigma = fit(level.ratio, y)
    guess = guess.clamp(-1, 1)
    filled = torch.where(y >= 1, guess + sigma * _mills((1 - guess) / sigma), y)
    return torch.where(y <= -1, guess - sigma * _mills((1 + guess) / sigma), filled)


def _mills(a: Tensor) -> Tensor:
    """phi(a) / (1 - Phi(a)): the mean of a standard normal number above a; a >= 0."""
    scaled = torch.special.erfcx(a.double() / 2**0.5)
    return (((2 / torch.pi) ** 0.5) / scaled).to(a.dtype)
