"""Clipped noise: what is left of it, and how much a denoiser of pure noise regains."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor

from sfumato.diffusion.exact import Mixture
from sfumato.diffusion.level import Level
from sfumato.diffusion.saturation import _mills, clipped_noise, unclipped


@given(st.floats(0.01, 2), st.floats(0.1, 1.0))
def test_the_noise_that_is_left(sigma: float, alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64) * 2 - 1
    noise = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    level = Level.of(torch.tensor([sigma * alpha] * 2, dtype=torch.float64), alpha)
    left = clipped_noise(x0, noise, level, torch.tensor([True, False]))
    seen = level.mix(x0, left) / alpha
    assert torch.allclose(seen[0], (x0[0] + sigma * noise[0]).clamp(-1, 1), atol=1e-9)
    assert torch.equal(left[1], noise[1])


def test_the_mean_beyond_a_bound() -> None:
    a = torch.tensor([0.0, 0.5, 2.0, 8.0, 30.0, 1000.0], dtype=torch.float64)
    assert torch.allclose(_mills(a)[:4], torch.from_numpy(norm.pdf(a[:4]) / norm.sf(a[:4])), rtol=1e-9)
    assert torch.allclose(_mills(a)[4:], a[4:] + 1 / a[4:], rtol=1e-3)  # far out: the bound itself, and a little


def psnr(x: Tensor, true: Tensor) -> float:
    return float(10 * (4 / (x - true).square().flatten(1).mean(1)).log10().mean())


@pytest.mark.parametrize("sigma", [0.3, 0.6])
def test_most_of_what_clipping_costs_is_regained(sigma: float) -> None:
    """On pictures that are often black or white, with their exact denoiser for pure noise."""
    generator = torch.Generator().manual_seed(1)
    means = torch.rand(2000, 1, 2, 2, generator=generator, dtype=torch.float64) * 2 - 1
    exact = Mixture(means, 0.02)
    x0 = exact.draw(2000, generator).clamp(-1, 1)
    y = x0 + sigma * torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    level = Level.of(sigma)
    whole, naive = psnr(exact(y, level), x0), psnr(exact(y.clamp(-1, 1), level), x0)
    cut = y.clamp(-1, 1)
    mended = psnr(exact(unclipped(exact(cut, level), cut, level), level), x0)
    assert whole - naive > 0.05
    assert mended - naive > 0.6 * (whole - naive)


def test_pictures_that_are_not_saturated_stay_as_they_are() -> None:
    exact = Mixture(torch.zeros(1, 3, 4, 4, dtype=torch.float64), 0.2)
    y = 0.3 * torch.randn(2, 3, 4, 4, dtype=torch.float64).clamp(-2, 2)
    level = Level.of(0.3)
    assert torch.equal(unclipped(exact(y, level), y.clamp(-0.99, 0.99), level), y.clamp(-0.99, 0.99))
