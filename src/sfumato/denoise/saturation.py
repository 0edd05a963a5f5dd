"""Noise that was clipped, as it is in every picture file: what a model is told of it, and a correction for models that
know pure noise alone."""

from __future__ import annotations

import torch
from torch import Tensor

from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level, fit
from sfumato.pictures.vocabulary import Vocabulary

PURE, CLIPPED = KINDS = ("pure", "clipped")
VOCABULARY = Vocabulary("class", list(KINDS), 1)
"""What a denoiser trained for both is told: token 1 is pure noise, 2 clipped noise, 0 nothing."""


def clipped_noise(x0: Tensor, noise: Tensor, level: Level, clip: Tensor) -> Tensor:
    """The noise that is left where `clip` (N,) says that x0 + ratio * noise was cut to [-1, 1].

    x0, noise: (N, C, H, W); level: one a picture. A denoiser of x0 + ratio * clipped_noise sees the clipped picture.
    """
    ratio = fit(level.ratio, x0)
    cut = ((x0 + ratio * noise).clamp(-1, 1) - x0) / ratio
    return torch.where(clip.view(-1, 1, 1, 1), cut, noise)


def corrected(denoise: Denoiser, y: Tensor, level: Level, cond: Tensor | None = None) -> Tensor:
    """Denoise clipped y, (N, C, H, W) in [-1, 1] at alpha = 1, with a denoiser that was trained on pure noise.

    One step of expectation-maximisation for censored data, at the price of one extra call: where y is saturated, it is
    replaced by what an unclipped picture would show there on average, the mean of N(D(y), sigma^2) beyond the bound
    (inverse Mills ratio), and the result is denoised.
    """
    sigma = fit(level.ratio, y)
    guess = denoise(y, level, cond).clamp(-1, 1)
    beyond = lambda distance: sigma * _mills(distance / sigma)  # noqa: E731
    y = torch.where(y >= 1, guess + beyond(1 - guess), y)
    y = torch.where(y <= -1, guess - beyond(1 + guess), y)
    return denoise(y, level, cond)


def _mills(a: Tensor) -> Tensor:
    """phi(a) / (1 - Phi(a)): the mean of a standard normal number above a; a >= 0."""
    scaled = torch.special.erfcx(a.double() / 2**0.5)
    return (((2 / torch.pi) ** 0.5) / scaled).to(a.dtype)
