"""Samplers: from noise to pictures by repeated denoising.

Each is a function `f(denoise, x, levels, cond, ...) -> x` over a path of levels from `Schedule.path`. `x` starts as
`sigma[0] * n` for pure noise. `noise()` returns standard normal noise of x's shape, for those that add some;
`callback(Step)` is called in every step. All work on any path: variance-preserving, EDM, flow, with `alpha = 0` at the
start and `sigma = 0` at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level


@dataclass(frozen=True)
class Step:
    """A sampler's state for a callback: x (N, C, H, W) at `level`, and x0, the denoiser's output for it."""

    index: int
    steps: int
    level: Level
    x: Tensor
    x0: Tensor


Callback = Callable[[Step], None]
NoiseSource = Callable[[], Tensor]


class Sampler(Protocol):
    def __call__(
        self,
        denoise: Denoiser,
        x: Tensor,
        levels: Level,
        cond: Condition | None = None,
        *,
        noise: NoiseSource | None = None,
        callback: Callback | None = None,
    ) -> Tensor: ...


def ddim(
    denoise: Denoiser,
    x: Tensor,
    levels: Level,
    cond: Condition | None = None,
    *,
    noise: NoiseSource | None = None,
    callback: Callback | None = None,
    eta: float = 0.0,
) -> Tensor:
    """DDIM (Song et al. 2021, eq. 12 and 16). eta = 0 is Euler's method for the probability-flow ODE in any scale of
    levels; eta = 1 is DDPM's ancestral sampling with the posterior variance (Ho et al. 2020, eq. 6 and 7)."""
    steps = len(levels) - 1
    for i in range(steps):
        level, (a, s), (an, sn) = levels[i], _pair(levels, i), _pair(levels, i + 1)
        x0 = denoise(x, level, cond)
        _tell(callback, i, steps, level, x, x0)
        if sn == 0:
            x = an * x0
            continue
        fresh = eta * sn * math.sqrt(max(0.0, 1 - (a * sn / (an * s)) ** 2))
        kept = math.sqrt(sn * sn - fresh * fresh)
        x = (an - kept * a / s) * x0 + (kept / s) * x
        if fresh:
            x = x + fresh * _fresh(noise, x)
    return x


def ddpm(
    denoise: Denoiser,
    x: Tensor,
    levels: Level,
    cond: Condition | None = None,
    *,
    noise: NoiseSource | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """DDPM's ancestral sampling (Ho et al. 2020, eq. 6 and 7): `ddim` with eta = 1."""
    return ddim(denoise, x, levels, cond, noise=noise, callback=callback, eta=1.0)


def euler(
    denoise: Denoiser,
    x: Tensor,
    levels: Level,
    cond: Condition | None = None,
    *,
    noise: NoiseSource | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Euler's method for the probability-flow ODE: `ddim` with eta = 0."""
    return ddim(denoise, x, levels, cond, noise=noise, callback=callback)


CHURNED = (0.05, 50.0)
"""Noise levels between which churn acts (S_min and S_max)."""


def heun(
    denoise: Denoiser,
    x: Tensor,
    levels: Level,
    cond: Condition | None = None,
    *,
    noise: NoiseSource | None = None,
    callback: Callback | None = None,
    churn: float = 0.0,
    inflate: float = 1.003,
) -> Tensor:
    """Heun's second-order method with churn (Karras et al. 2022, algorithm 2), two calls a step but the last.

    Works in y = x / alpha at noise r = sigma / alpha. `churn` is their S_churn, acting for r within
    CHURNED with noise inflated by `inflate`. A step from pure noise is a plain Euler step, as is the
    last.
    """
    steps = len(levels) - 1
    for i in range(steps):
        level, (a, s), (an, sn) = levels[i], _pair(levels, i), _pair(levels, i + 1)
        if a == 0:  # r is infinite: the ODE's first step has only its limit
            x0 = denoise(x, level, cond)
            _tell(callback, i, steps, level, x, x0)
            x = an * x0 + (sn / s) * x
            continue
        r, rn, y = s / a, sn / an, x / a
        if churn > 0 and CHURNED[0] <= r <= CHURNED[1]:
            higher = r * (1 + min(churn / steps, math.sqrt(2) - 1))
            y = y + math.sqrt(higher**2 - r**2) * inflate * _fresh(noise, y)
            r = higher
        level = Level(level.alpha, level.alpha * r)
        x0 = denoise(a * y, level, cond)
        _tell(callback, i, steps, level, a * y, x0)
        slope = (y - x0) / r
        ahead = y + (rn - r) * slope
        if rn > 0:
            x0 = denoise(an * ahead, levels[i + 1], cond)
            ahead = y + (rn - r) * 0.5 * (slope + (ahead - x0) / rn)
        x = an * ahead
    return x


def dpm_solver_2m(
    denoise: Denoiser,
    x: Tensor,
    levels: Level,
    cond: Condition | None = None,
    *,
    noise: NoiseSource | None = None,
    callback: Callback | None = None,
    stochastic: bool = False,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2), or with `stochastic` its SDE form (section 5 there).

    One call a step, second order by the previous step's output. The first step and a step to no noise are first order.
    """
    steps = len(levels) - 1
    before: Tensor | None = None
    h_before = math.inf
    for i in range(steps):
        level, (a, s), (an, sn) = levels[i], _pair(levels, i), _pair(levels, i + 1)
        x0 = denoise(x, level, cond)
        _tell(callback, i, steps, level, x, x0)
        shrink = a * sn / (an * s)  # e^-h, with h the step in ln(alpha / sigma)
        h = -math.log(shrink) if shrink > 0 else math.inf
        target = x0
        if before is not None and math.isfinite(h) and math.isfinite(h_before):
            target = x0 + (h / (2 * h_before)) * (x0 - before)
        if stochastic:
            x = (sn / s) * shrink * x + an * (1 - shrink**2) * target
            if sn > 0:
                x = x + sn * math.sqrt(1 - shrink**2) * _fresh(noise, x)
        else:
            x = (sn / s) * x + an * (1 - shrink) * target
        before, h_before = x0, h
    return x


def dpm_solver_sde(
    denoise: Denoiser,
    x: Tensor,
    levels: Level,
    cond: Condition | None = None,
    *,
    noise: NoiseSource | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """The SDE form of DPM-Solver++(2M): `dpm_solver_2m` with `stochastic`."""
    return dpm_solver_2m(denoise, x, levels, cond, noise=noise, callback=callback, stochastic=True)


def evaluations(sampler: Sampler, levels: Level) -> int:
    """Calls of the denoiser (NFE) that a sampler makes on a path: counted, on one number in place of pictures."""
    calls = 0

    def denoise(x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.zeros_like(x)

    sampler(denoise, torch.zeros(1, 1, 1, 1), levels, noise=lambda: torch.zeros(1, 1, 1, 1))
    return calls


def _pair(levels: Level, i: int) -> tuple[float, float]:
    return float(levels.alpha[i]), float(levels.sigma[i])


def _fresh(noise: NoiseSource | None, x: Tensor) -> Tensor:
    return noise() if noise is not None else torch.randn_like(x)


def _tell(callback: Callback | None, i: int, steps: int, level: Level, x: Tensor, x0: Tensor) -> None:
    if callback is not None:
        callback(Step(i, steps, level, x, x0))
