"""The denoiser D(x, level, cond) -> x0, and the predictions by which a network becomes a denoiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sfumato.diffusion.condition import Condition, tensors_of
from sfumato.diffusion.level import Level, fit


class Denoiser(Protocol):
    """D(x, level, cond) -> x0: the expected clean picture, E[x0 | x]."""

    def __call__(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        """The expected clean pictures, (N, C, H, W), in the scale of clean pictures.

        x: noisy pictures, (N, C, H, W): alpha times a picture in [-1, 1], plus noise of standard deviation sigma;
        level: of shape () for all pictures, (N,) for each one, or (N, 1, H, W), a map; cond: N rows, or None without a
        condition.
        """


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of x0 = skip * x + out * F(inp * x) for a network F: float64, each of the level's shape."""

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

    The noise in the input has the standard deviation sigma / alpha. If the input were rescaled, a network whose layers
    are not modulated by the level would have to learn a gain that depends on the level. Undefined at alpha = 0.
    """
    return Coefficients(1 / level.alpha, torch.zeros_like(level.alpha), torch.ones_like(level.alpha))


def _residual(level: Level, sigma_data: float) -> Coefficients:
    """F is the clean picture minus x / alpha, that is, the negative noise (Zhang et al. 2017, DnCNN); input x / alpha.

    With r = sigma / alpha, D = x / alpha + F r / sqrt(r^2 + sigma_data^2). So D tends to x / alpha as r tends to 0, for
    any F. `sigma_data` is small for this prediction. Undefined at alpha = 0.
    """
    r = level.ratio
    return Coefficients(1 / level.alpha, 1 / level.alpha, r * (r * r + sigma_data**2).rsqrt())


def _v(level: Level, sigma_data: float) -> Coefficients:
    """F is v = alpha n - sigma x0, at the level rescaled to variance 1 (Salimans and Ho 2022, appendix D)."""
    a, s = level.alpha, level.sigma
    square = a * a + s * s
    return Coefficients(square.rsqrt(), a / square, -s * square.rsqrt())


def _flow(level: Level, sigma_data: float) -> Coefficients:
    """F is the velocity n - x0, at the level rescaled to alpha + sigma = 1 (Liu et al. 2023, eq. 1)."""
    a, s = level.alpha, level.sigma
    return Coefficients(1 / (a + s), 1 / (a + s), -s / (a + s))


def _edm(level: Level, sigma_data: float) -> Coefficients:
    """F is EDM's mixture of clean picture and noise (Karras et al. 2022, table 1, with x / alpha as their x).

    Finite at alpha = 0.
    """
    a, s = level.alpha, level.sigma
    square = s * s + (a * sigma_data).square()
    return Coefficients(square.rsqrt(), a * sigma_data**2 / square, s * sigma_data * square.rsqrt())


PREDICTIONS: dict[str, Prediction] = {
    "epsilon": _epsilon, "x0": _x0, "x0-unscaled": _x0_unscaled, "residual": _residual, "v": _v, "flow": _flow,
    "edm": _edm,
}  # fmt: skip

Network = Callable[[Tensor, Tensor, Condition | None], Tensor]


def conditioned(net: Callable[..., Tensor]) -> Network:
    """Turns a module with keyword arguments, `net(x, c, tokens=...)`, into a Network, `network(x, c, cond)`."""
    return lambda x, c, cond: net(x, c, **tensors_of(cond))


class Preconditioned:
    """A network F as a denoiser: D(x) = skip * x + out * F(inp * x, c, cond) (Karras et al. 2022, eq. 7).

    network: called with the scaled noisy pictures, (N, C, H, W); c = ln(sigma / alpha) / 4, (N,), or (N, 1, H, W) if
    the level is a map; and the condition. prediction: the meaning of its output, a key of PREDICTIONS; sigma_data:
    standard deviation of clean pictures. Raises KeyError for an unknown prediction.
    """

    def __init__(self, network: Network, prediction: str, sigma_data: float = 0.5) -> None:
        self.network = network
        self.coefficients = PREDICTIONS[prediction]
        self.sigma_data = sigma_data

    def raw(self, x: Tensor, level: Level, cond: Condition | None = None) -> tuple[Tensor, Coefficients]:
        """The network's output F, (N, C, H, W) in x's dtype, and the coefficients. Arguments: as for a Denoiser."""
        c = self.coefficients(level, self.sigma_data)
        noise = (level.log_ratio / 4).to(x.dtype).to(x.device, non_blocking=True)
        noise = noise.expand(len(x), *noise.shape[1:])
        return self.network(_times(c.inp, x), noise, cond).to(x.dtype), c

    def __call__(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        output, c = self.raw(x, level, cond)
        x0 = _times(c.out, output)
        return x0 + fit(c.skip, x) * x if c.skip.any() else x0


def _times(c: Tensor, x: Tensor) -> Tensor:
    """c x; on a CPU x itself if c is 1, to save memory for large photos. On a GPU, reading c would synchronise."""
    return x if c.device.type == "cpu" and (c == 1).all() else fit(c, x) * x


class Clipped:
    """A denoiser whose output is clamped to [low, high], the range of clean pictures."""

    def __init__(self, denoiser: Denoiser, low: float = -1.0, high: float = 1.0) -> None:
        self.denoiser, self.low, self.high = denoiser, low, high

    def __call__(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        return self.denoiser(x, level, cond).clamp(self.low, self.high)
