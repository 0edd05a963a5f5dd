"""Samples of what a noisy picture may have been: the reverse process, started at the picture itself.

A picture with noise of level sigma is a state of the diffusion process at that level, so that running the rest of the
process backwards draws clean pictures from the posterior. One call of the denoiser gives their mean, the best guess in
squared error; a sample looks real and has twice the mean's error; the mean of K samples lies between, at 1 + 1/K.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level
from sfumato.diffusion.samplers import NoiseSource, dpm_solver_sde
from sfumato.diffusion.schedule import LogNormal

STEPS = 24
FINEST = 0.002  # of the noise in [-1, 1] scale, where the way down ends


def path(sigma: float, steps: int = STEPS) -> Level:
    """The levels from a picture's own noise to none, (steps + 1,); closer together where noise is low, but less so than
    for drawing from nothing: the spread of the samples is decided on the whole way."""
    return LogNormal(sigma_min=min(FINEST, sigma / 2), sigma_max=sigma, rho=3).path(steps)


def posterior(
    denoise: Denoiser,
    y: Tensor,
    sigma: float,
    k: int = 1,
    *,
    steps: int = STEPS,
    cond: Condition | None = None,
    noise: Callable[[int], NoiseSource] | None = None,
) -> Tensor:
    """k samples of the clean pictures given noisy ones, (k, N, C, H, W).

    y: (N, C, H, W) in [-1, 1] scale with noise of standard deviation sigma, not clipped; denoise: knows pure noise;
    noise(j): the source of fresh noise for sample j, (N, C, H, W) a call.
    """
    levels = path(sigma, steps)
    return torch.stack([dpm_solver_sde(denoise, y, levels, cond, noise=noise(j) if noise else None) for j in range(k)])
