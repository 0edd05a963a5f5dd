"""Posterior samples on a mixture whose posterior is known."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato.denoising.posterior import path, posterior
from sfumato.diffusion.exact import Mixture
from sfumato.diffusion.level import Level

SIGMA, N, MOST = 0.5, 20_000, 8


@pytest.fixture(scope="module")
def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clean pictures, their posterior means, and eight posterior samples of each."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(12, 1, 2, 2, generator=generator, dtype=torch.float64)
    exact = Mixture(means, 0.3)
    x0 = exact.draw(N, generator)
    y = x0 + SIGMA * torch.randn(x0.shape, generator=generator, dtype=torch.float64)

    def noise(j: int):  # type: ignore[no-untyped-def]
        own = torch.Generator().manual_seed(100 + j)
        return lambda: torch.randn(y.shape, generator=own, dtype=torch.float64)

    samples = posterior(exact, y, SIGMA, MOST, noise=noise)
    return x0, exact(y, Level.of(SIGMA)), samples


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_the_mean_of_k_samples_has_the_error_it_should(k: int, drawn: tuple[torch.Tensor, ...]) -> None:
    """MSE of the mean of K samples = MMSE (1 + 1/K)."""
    x0, best, samples = drawn
    least = (best - x0).square().mean()
    found = (samples[:k].mean(0) - x0).square().mean()
    assert 10 * math.log10(found / least) == pytest.approx(10 * math.log10(1 + 1 / k), abs=0.05)


def test_the_way_starts_at_the_pictures_noise_and_ends_in_none() -> None:
    levels = path(0.4, 7)
    assert float(levels.sigma[0]) == pytest.approx(0.4)
    assert float(levels.sigma[-1]) == 0
    assert len(levels) == 8
