"""The denoiser D(x, level, cond) -> x0, and how a network becomes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sfumato.diffusion.condition import Condition, tensors_of
from sfumato.diffusion.level import Level, fit


class Denoiser(Protocol):
    def __call__(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        """The expected clean picture.

        x: (N, C, H, W), a picture in [-1, 1] scaled by alpha plus noise of standard deviation sigma;
        level: one for all pictures, (N,), or a map (N, 1, H, W); cond: N rows, or None for unconditional.
        Returns (N, C, H, W) in the scale of clean pictures.
        """


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of x0 = skip * x + out * F(inp * x) for a network F at a level (float64)."""

    inp: Tensor
    skip: Tensor
    out: Tensor


Prediction = Callable[[Level, float], Coefficients]


def _epsilon(level: Level, sigma_data: float) -> Coefficients:
    """F is the noise n (Ho et al. 2020). Undefined at alpha = 0."""
    a, s = level.alpha, level.sigma
    return Coefficients((a * a + s * s).rsqrt(), 1 / a, -s / a)


def _x0(level: Level, sigma_data: float) -> Coefficients:
    """F is the clean picture itself."""
    a, s = level.alpha, level.sigma
    return Coefficients((a * a + s * s).rsqrt(), torch.zeros_like(a), torch.ones_like(a))


def _x0_unscaled(level: Level, sigma_data: float) -> Coefficients:
    """F is the clean picture, and its input is x / alpha, not rescaled (Zhang et al. 2018, FFDNet).

    So the noise has the standard deviation sigma / alpha in the input. With rescaling a network without modulation
    would have to learn a gain that depends on the level. Undefined at alpha = 0.
    """
    return Coefficients(1 / level.alpha, torch.zeros_like(level.alpha), torch.ones_like(level.alpha))


def _residual(level: Level, sigma_data: float) -> Coefficients:
    """F is the clean picture less the noisy one, that is minus the noise (Zhang et al. 2017, DnCNN), from x / alpha.

    D tends to x / alpha as sigma tends to 0, for any F: the factor of F falls with the noise below `sigma_data`, which
    is small for this prediction. Undefined at alpha = 0.
    """
    r = level.ratio
    return Coefficients(1 / level.alpha, 1 / level.alpha, r * (r * r + sigma_data**2).rsqrt())


def _v(level: Level, sigma_data: float) -> Coefficients:
    """F is v = alpha n - sigma x0 of the level rescaled to variance 1 (Salimans and Ho 2022, appendix D)."""
    a, s = level.alpha, level.sigma
    square = a * a + s * s
    return Coefficients(square.rsqrt(), a / square, -s * square.rsqrt())


def _flow(level: Level, sigma_data: float) -> Coefficients:
    """F is the velocity n - x0 of the level rescaled to alpha + sigma = 1 (Liu et al. 2023, eq. 1)."""
    a, s = level.alpha, level.sigma
    return Coefficients(1 / (a + s), 1 / (a + s), -s / (a + s))


def _edm(level: Level, sigma_data: float) -> Coefficients:
    """Karras et al. 2022, table 1, with x / alpha in place of their x; finite at alpha = 0."""
    a, s = level.alpha, level.sigma
    square = s * s + (a * sigma_data).square()
    return Coefficients(square.rsqrt(), a * sigma_data**2 / square, s * sigma_data * square.rsqrt())


PREDICTIONS: dict[str, Prediction] = {
    "epsilon": _epsilon, "x0": _x0, "x0-unscaled": _x0_unscaled, "residual": _residual, "v": _v, "flow": _flow,
    "edm": _edm,
}  # fmt: skip

Network = Callable[[Tensor, Tensor, Condition | None], Tensor]


def conditioned(net: Callable[..., Tensor]) -> Network:
    """A module that takes a condition's tensors as keyword arguments, `net(x, c, tokens=...)`, as a Network."""
    return lambda x, c, cond: net(x, c, **tensors_of(cond))


class Preconditioned:
    """A network F as a denoiser.

    `network(x, c, cond)` gets the scaled input, c = ln(sigma / alpha) / 4 of shape (N,), or (N, 1, H, W) if the level
    is a map, and the condition; what its output means is `prediction`, a key of PREDICTIONS. `sigma_data` is the
    standard deviation of clean pictures.
    """

    def __init__(self, network: Network, prediction: str, sigma_data: float = 0.5) -> None:
        self.network = network
        self.coefficients = PREDICTIONS[prediction]
        self.sigma_data = sigma_data

    def raw(self, x: Tensor, level: Level, cond: Condition | None = None) -> tuple[Tensor, Coefficients]:
        """The network's output F, in the dtype of x, and its coefficients."""
        c = self.coefficients(level, self.sigma_data)
        noise = (level.log_ratio / 4).to(x.dtype).to(x.device, non_blocking=True)
        noise = noise.expand(len(x), *noise.shape[1:])
        return self.network(_times(c.inp, x), noise, cond).to(x.dtype), c

    def __call__(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        output, c = self.raw(x, level, cond)
        x0 = _times(c.out, output)
        return x0 + fit(c.skip, x) * x if c.skip.any() else x0


def _times(c: Tensor, x: Tensor) -> Tensor:
    """c x; x itself if c is 1, to spare memory for large photos; on a GPU c is not read, which would synchronise."""
    return x if c.device.type == "cpu" and (c == 1).all() else fit(c, x) * x


class Clipped:
    """A denoiser whose output is clamped to [low, high], the range of clean pictures."""

    def __init__(self, denoiser: Denoiser, low: float = -1.0, high: float = 1.0) -> None:
        self.denoiser, self.low, self.high = denoiser, low, high

    def __call__(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        return self.denoiser(x, level, cond).clamp(self.low, self.high)
