"""A denoiser in closed form, against which samplers and schedules are tested."""

from __future__ import annotations

import torch
from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.level import Level, fit


class Mixture:
    """Pictures drawn from a mixture of K isotropic Gaussians, and their exact denoiser.

    means: (K, C, H, W); std: standard deviation about each mean; weights: (K,), equal if left out. The condition has
    tokens, (N, 1): k + 1 for component k, and 0 for no condition.
    """

    def __init__(self, means: Tensor, std: float, weights: Tensor | None = None) -> None:
        self.means, self.std = means, std
        weights = torch.ones(len(means), dtype=means.dtype) if weights is None else weights
        self.log_weights = (weights / weights.sum()).log()

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n clean pictures, (n, C, H, W)."""
        which = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        noise = torch.randn(n, *self.means.shape[1:], dtype=self.means.dtype, generator=generator)
        return self.means[which] + self.std * noise

    def responsibilities(self, x: Tensor, level: Level) -> Tensor:
        """P(component | x), (N, K), for noisy pictures x, (N, C, H, W)."""
        a, s = fit(level.alpha, x), fit(level.sigma, x)
        variance = (a * self.std).square() + s.square()
        centres = a.reshape(-1, 1, 1, 1, 1) * self.means
        square = (x[:, None] - centres).flatten(2).square().sum(2)
        return torch.softmax(self.log_weights - square / (2 * variance.reshape(-1, 1)), 1)

    def __call__(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        """E[x0 | x]: the mean of the components' Wiener estimates, weighted by P(component | x)."""
        a, s = fit(level.alpha, x), fit(level.sigma, x)
        weights = self.responsibilities(x, level)
        if cond is not None:
            component = cond.tensors["tokens"][:, 0]
            one = torch.nn.functional.one_hot((component - 1).clamp_min(0), len(self.means)).to(weights.dtype)
            weights = torch.where((component > 0)[:, None], one, weights)
        mean = torch.einsum("nk,kchw->nchw", weights, self.means)
        gain = a * self.std**2 / ((a * self.std).square() + s.square())
        return mean + gain * (x - a * mean)
