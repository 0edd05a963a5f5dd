"""Schedules: the levels of training, and those that a sampler visits.

A schedule has two methods. `draw(u)` maps uniform numbers to the levels of training. `path(steps)` returns the
steps + 1 levels that a sampler visits, from the most noise to no noise. Every sampler runs on every path.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sfumato.diffusion.level import Level


class Schedule(Protocol):
    def draw(self, u: Tensor) -> Level:
        """The levels for training, (N,), at numbers u in [0, 1), float64 (N,)."""

    def path(self, steps: int) -> Level:
        """The levels that a sampler visits, float64 (steps + 1,), sigma descending to exactly 0.

        Raises ValueError if the schedule has no path of so many steps.
        """


def stratified(n: int, generator: torch.Generator, strata: Tensor | None = None) -> Tensor:
    """Random numbers for `Schedule.draw`, one in each of n equal parts of [0, 1), float64 (n,).

    A batch then covers all levels evenly, so its loss varies less. strata: the order of the parts, a permutation of
    range(n); ascending if left out.
    """
    order = torch.arange(n) if strata is None else strata
    return (order.double() + torch.rand(n, dtype=torch.float64, generator=generator)) / n


def midpoints(n: int) -> Tensor:
    """Fixed numbers for `Schedule.draw`: the middles of n equal parts of [0, 1), ascending, float64 (n,)."""
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


@dataclass(frozen=True)
class Discrete:
    """A variance-preserving schedule of T levels with alpha^2 = alpha_bar (Ho et al. 2020, eq. 4).

    alpha_bar: the cumulative products of 1 - beta, float64 (T,), descending; shift: above 0; above 1 training draws
    more levels of high noise, by u -> shift u / (1 + (shift - 1) u) (Esser et al. 2024, eq. 23). Training draws one of
    the T levels. A path visits `steps` of them, evenly spaced and starting at the last (trailing spacing: Lin et al.
    2024, "Common diffusion noise schedules", table 2), and ends without noise.
    """

    alpha_bar: Tensor
    shift: float = 1.0

    @property
    def timesteps(self) -> int:
        """The number T of levels."""
        return len(self.alpha_bar)

    @property
    def log_ratios(self) -> Tensor:
        """ln(sigma / alpha) of each timestep, ascending, float64 (T,)."""
        return self.at(torch.arange(self.timesteps)).log_ratio

    def at(self, t: Tensor) -> Level:
        """The levels of integer timesteps, 0 to T - 1; 0 has the least noise."""
        bar = self.alpha_bar[t]
        return Level(bar.sqrt(), (1 - bar).sqrt())

    def draw(self, u: Tensor) -> Level:
        u = self.shift * u / (1 + (self.shift - 1) * u)
        index = (u * self.timesteps).long().clamp_max(self.timesteps - 1)
        bar = self._at_home(u.device)[index]
        return Level(bar.sqrt(), (1 - bar).sqrt())

    @functools.cached_property
    def _homes(self) -> dict[torch.device, Tensor]:
        return {self.alpha_bar.device: self.alpha_bar}

    def _at_home(self, device: torch.device) -> Tensor:
        """`alpha_bar` on a device, copied there once."""
        if device not in self._homes:
            self._homes[device] = self.alpha_bar.to(device)
        return self._homes[device]

    def visited(self, steps: int) -> Tensor:
        """The integer timesteps of a path, int64 (steps,), descending. Raises ValueError if steps is not 1 to T."""
        if not 1 <= steps <= self.timesteps:
            raise ValueError(f"steps must be between 1 and {self.timesteps}, the schedule's timesteps; got {steps}")
        return (torch.arange(steps, 0, -1, dtype=torch.float64) * (self.timesteps / steps)).round().long() - 1

    def path(self, steps: int) -> Level:
        level = self.at(self.visited(steps))
        one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        return Level(torch.cat([level.alpha, one]), torch.cat([level.sigma, zero]))


def linear(timesteps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Discrete:
    """DDPM's betas, evenly spaced from `first` to `last` (Ho et al. 2020, section 4), multiplied by 1000 / T."""
    scale = 1000 / timesteps
    betas = torch.linspace(first * scale, last * scale, timesteps, dtype=torch.float64).clamp_max(0.999)
    return Discrete((1 - betas).cumprod(0))


def cosine(timesteps: int = 1000, offset: float = 0.008) -> Discrete:
    """alpha_bar falls as a squared cosine; betas are at most 0.999 (Nichol and Dhariwal 2021, eq. 17)."""
    t = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    bar = torch.cos((t + offset) / (1 + offset) * math.pi / 2).square()
    betas = (1 - bar[1:] / bar[:-1]).clamp_max(0.999)
    return Discrete((1 - betas).cumprod(0))


def scaled_linear(timesteps: int = 1000, first: float = 0.00085, last: float = 0.012) -> Discrete:
    """Stable Diffusion's betas, whose square roots are evenly spaced (Rombach et al. 2022)."""
    betas = torch.linspace(first**0.5, last**0.5, timesteps, dtype=torch.float64).square()
    return Discrete((1 - betas).cumprod(0))


def zero_terminal(chain: Discrete) -> Discrete:
    """A schedule rescaled to zero terminal SNR (Lin et al. 2024, algorithm 1).

    sqrt(alpha_bar) is shifted and scaled so that its last value is 0 and its first value is kept.
    """
    root = chain.alpha_bar.sqrt()
    return Discrete(((root - root[-1]) * (root[0] / (root[0] - root[-1]))).square())


def scaled_linear_zero(timesteps: int = 1000, first: float = 0.00085, last: float = 0.012) -> Discrete:
    """Stable Diffusion's betas rescaled to zero terminal SNR."""
    return zero_terminal(scaled_linear(timesteps, first, last))


def timesteps(levels: Tensor, c: Tensor) -> Tensor:
    """The timesteps of noise levels in a discrete schedule, float32 (N,).

    levels: `Discrete.log_ratios` of the schedule, (T,); c: ln(sigma / alpha) / 4 of the noise levels, (N,). A noise
    level of the schedule has a whole number; one between two of them is interpolated.
    """
    ratio = (4 * c.double()).clamp(levels[0], levels[-1])
    above = torch.searchsorted(levels, ratio).clamp(1, len(levels) - 1)
    low, high = levels[above - 1], levels[above]
    exact = above - 1 + (ratio - low) / (high - low)
    near = exact.round()
    return torch.where((exact - near).abs() < 1e-3, near, exact).float()


@dataclass(frozen=True)
class LogNormal:
    """EDM's schedule with alpha = 1 (Karras et al. 2022).

    Training draws ln sigma from a normal distribution (table 1); mean, std: its mean and standard deviation. The path
    is even in sigma^(1 / rho) from sigma_max to sigma_min, then 0 (eq. 5).
    """

    mean: float = -1.2
    std: float = 1.2
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def draw(self, u: Tensor) -> Level:
        normal = math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-1 + 1e-12, 1 - 1e-12))
        return Level.of((self.mean + self.std * normal).exp())

    def path(self, steps: int) -> Level:
        high, low = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        sigma = (high + torch.linspace(0, 1, steps, dtype=torch.float64) * (low - high)) ** self.rho
        return Level.of(torch.cat([sigma, torch.zeros(1, dtype=torch.float64)]))


@dataclass(frozen=True)
class Flow:
    """Flow matching on the straight line x = (1 - t) x0 + t n (Lipman et al. 2023; Liu et al. 2023).

    Training draws t from a logit-normal distribution with location 0 and scale 1 (Esser et al. 2024, eq. 19). A path is
    even in t, from 1 to 0.
    """

    def draw(self, u: Tensor) -> Level:
        normal = math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-1 + 1e-12, 1 - 1e-12))
        t = torch.sigmoid(normal)
        return Level(1 - t, t)

    def path(self, steps: int) -> Level:
        t = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        return Level(1 - t, t)
