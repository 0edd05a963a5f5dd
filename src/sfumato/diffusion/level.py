"""Noise levels: the factors of picture and noise in a noisy picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Level:
    """The factors of picture and noise in `x = alpha * x0 + sigma * n`.

    `alpha` and `sigma` are float64 tensors, 0 or more, of one shape: () for one level, (N,) for one level per picture,
    (K,) for a path of levels, (N, 1, H, W) for a map over each picture. Variance-preserving levels have
    alpha^2 + sigma^2 = 1, flow matching alpha + sigma = 1, and EDM alpha = 1; `alpha = 0` is pure noise. These scales
    are equivalent: D depends only on sigma / alpha and x / alpha. Levels stay on the CPU; `fit` moves a coefficient to
    the device of a picture.
    """

    alpha: Tensor
    sigma: Tensor

    @classmethod
    def of(cls, sigma: float | Tensor, alpha: float | Tensor = 1.0) -> Level:
        """The level of a picture times `alpha` with noise of standard deviation `sigma`; shapes are broadcast."""
        s = torch.as_tensor(sigma, dtype=torch.float64)
        a = alpha.to(s) if isinstance(alpha, Tensor) else torch.full((), alpha, dtype=torch.float64, device=s.device)
        alpha_, sigma_ = torch.broadcast_tensors(a, s)
        return cls(alpha_, sigma_)

    @property
    def ratio(self) -> Tensor:
        """sigma / alpha: the standard deviation of the noise in x / alpha; infinite for pure noise."""
        return self.sigma / self.alpha

    @property
    def log_ratio(self) -> Tensor:
        """ln(sigma / alpha), clamped to [-12, 12], so that it is finite for pure noise and for no noise."""
        return (self.sigma.log() - self.alpha.log()).clamp(-12.0, 12.0)

    @property
    def snr(self) -> Tensor:
        """The signal-to-noise ratio alpha^2 / sigma^2; infinite without noise."""
        return (self.alpha / self.sigma).square()

    def __len__(self) -> int:
        return len(self.sigma)

    def __getitem__(self, index: int | slice | Tensor) -> Level:
        return Level(self.alpha[index], self.sigma[index])

    def mix(self, x0: Tensor, noise: Tensor) -> Tensor:
        """alpha * x0 + sigma * noise, (N, ...) in the dtype of x0."""
        return fit(self.alpha, x0) * x0 + fit(self.sigma, x0) * noise


def fit(coefficient: Tensor, x: Tensor) -> Tensor:
    """A float64 coefficient of shape (), (N,) or (N, 1, ...), cast to x's dtype and shaped to multiply x (N, ...)."""
    c = coefficient.to(x.dtype).to(x.device, non_blocking=True)
    return c if c.ndim in (0, x.ndim) else c.reshape(-1, *[1] * (x.ndim - 1))
