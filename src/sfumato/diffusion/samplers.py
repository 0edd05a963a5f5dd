"""Samplers: they turn noise into pictures by calling a denoiser repeatedly.

A sampler is a function `f(denoise, x, levels, cond, ...) -> x`, see `Sampler`. Every sampler works on every path:
variance-preserving, EDM or flow, with `alpha = 0` at the start or not, and with `sigma = 0` at the end.
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
    """The state of a sampler in step `index` (0 to steps - 1), for a callback.

    x: the noisy pictures, (N, C, H, W), at `level`; x0: the denoiser's output for them.
    """

    index: int
    steps: int
    level: Level
    x: Tensor
    x0: Tensor


Callback = Callable[[Step], None]
NoiseSource = Callable[[], Tensor]


class Sampler(Protocol):
    """Moves x from the first level of a path to the last.

    denoise: the denoiser; x: (N, C, H, W) at levels[0], for a first level of pure noise sigma * n; levels: a path of
    K + 1 levels from `Schedule.path`, sigma descending; cond: N rows or None; noise: returns standard normal noise of
    x's shape, for samplers that add noise (left out: torch's global generator); callback: called in every step. Returns
    x at the last level.
    """

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
    """DDIM (Song et al. 2021, eq. 12 and 16), one call of the denoiser a step.

    eta: 0 to 1, the amount of fresh noise. eta = 0 is Euler's method for the probability-flow ODE in any scale of
    levels. eta = 1 is DDPM's ancestral sampling with the posterior variance (Ho et al. 2020, eq. 6 and 7).
    """
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
"""The sigma / alpha between which churn acts (S_min and S_max of Karras et al. 2022)."""


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
    """Heun's second-order method with churn (Karras et al. 2022, algorithm 2), two calls of the denoiser a step.

    It solves the ODE of y = x / alpha over r = sigma / alpha. churn: S_churn of the paper, 0 or more, which acts for r
    within CHURNED; inflate: the factor of its noise, S_noise of the paper. A step from pure noise and the last step
    are Euler steps, with one call each.
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
    """DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2), or with `stochastic` its SDE form (section 5 of the paper).

    It makes one call of the denoiser a step, and uses the output of the step before for second order. The first step,
    and a step to sigma = 0, are first order.
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
    """The number of calls of the denoiser (NFE) that a sampler makes on a path, counted in a run on a single pixel."""
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
