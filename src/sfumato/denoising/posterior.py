"""Samples from the posterior of the clean picture given the noisy one: the reverse process, started at the picture.

A picture with noise of level sigma is a state of the diffusion process at that level, so that running the rest of the
process backwards draws clean pictures from the posterior. One call of the denoiser gives their mean, which has the
least squared error; a sample looks sharp and has twice that error; the mean of K samples has 1 + 1/K times it.
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
FINEST = 0.002  # last sigma of the path, in [-1, 1] scale


def path(sigma: float, steps: int = STEPS) -> Level:
    """The levels from a picture's own noise to none, (steps + 1,). They are less dense at low noise (rho = 3) than for
    drawing from pure noise, since the samples' spread depends on all levels."""
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

    y: (N, C, H, W) in [-1, 1] scale with noise of standard deviation sigma, not clipped; denoise: for unclipped noise;
    noise(j): a function for sample j that returns fresh noise, (N, C, H, W).
    """
    levels = path(sigma, steps)
    return torch.stack([dpm_solver_sde(denoise, y, levels, cond, noise=noise(j) if noise else None) for j in range(k)])
