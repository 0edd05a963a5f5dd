"""Denoisers of other projects as models: the same x0, and samples with the moments of the data they know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sfumato import Sampling, judge, registry
from sfumato.denoising.denoise import Cleaning
from sfumato.diffusion.condition import Condition
from sfumato.diffusion.exact import Mixture
from sfumato.diffusion.level import Level
from sfumato.judging.denoise import Noisy, judge_denoised
from sfumato.models.foreign import from_edm, from_k_diffusion
from sfumato.models.pixel import PixelModel

from ..tiny import SIDE, small_features, write_pictures

SHAPE = (3, 8, 8)
STD = 0.1


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    """Two kinds of pictures, one three times as frequent, whose exact denoiser is known."""
    means = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    return Mixture(means, STD, torch.tensor([3.0, 1.0], dtype=torch.float64))


class EDM(nn.Module):
    """The mixture's denoiser as EDM's networks are called: one-hot labels, all 0 or None for none."""

    def __init__(self, mixture: Mixture) -> None:
        super().__init__()
        self.mixture = mixture
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, sigma: Tensor, class_labels: Tensor | None = None) -> Tensor:
        assert sigma.shape == (len(x),)
        if class_labels is None:
            return self.mixture(x, Level.of(sigma))
        assert class_labels.shape == (len(x), 2)
        told = (class_labels * torch.tensor([1, 2])).sum(1).long()[:, None]
        return self.mixture(x, Level.of(sigma), Condition.of(tokens=told))


def k_style(mixture: Mixture, **options: object) -> PixelModel:
    def denoiser(x: Tensor, sigma: Tensor, class_cond: Tensor) -> Tensor:
        return mixture(x, Level.of(sigma), Condition.of(tokens=class_cond[:, None]))

    return from_k_diffusion(
        denoiser, SHAPE, labels=("often", "rare"), extra=lambda told: {"class_cond": told}, **options
    )  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["edm", "edm with labels", "k-diffusion"])
def model(request: pytest.FixtureRequest, mixture: Mixture) -> PixelModel:
    if request.param == "k-diffusion":
        return k_style(mixture)
    return from_edm(EDM(mixture), SHAPE, labels=("often", "rare") if "labels" in request.param else ())


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_denoiser_is_the_same(model: PixelModel, mixture: Mixture, scale: float) -> None:
    sigma = torch.tensor([0.01, 0.2, 1.0, 30.0], dtype=torch.float64)
    level = Level.of(scale * sigma, scale)
    x = level.mix(mixture.draw(4, torch.Generator().manual_seed(1)), torch.randn(4, *SHAPE, dtype=torch.float64))
    told = torch.tensor([[0], [1], [2], [1]]) if model.vocabulary.words else None
    cond = None if told is None else Condition.of(tokens=told)
    assert (model.denoiser(x, level, cond) - mixture(x, level, cond)).abs().max() < 1e-10


def test_nothing_is_no_label(mixture: Mixture) -> None:
    for model in (k_style(mixture), from_edm(EDM(mixture), SHAPE, labels=("often", "rare"))):
        x, level = torch.randn(3, *SHAPE, dtype=torch.float64), Level.of(1.0)
        null = model.null
        assert null is not None
        for cond in (None, null.repeat(3)):
            assert torch.allclose(model.denoiser(x, level, cond), mixture(x, level))


@pytest.mark.parametrize("sampler", registry.names("sampler"))
def test_samples_have_the_moments_of_the_data(mixture: Mixture, sampler: str) -> None:
    model = from_edm(EDM(mixture), SHAPE)
    steps = 120 if sampler in ("ddpm", "ddim", "euler") else 40
    drawn = model.sample(400, sampling=Sampling(sampler=sampler, steps=steps, clip=False)).double() / 127.5 - 1
    near = (drawn[:, None] - mixture.means).square().flatten(2).mean(2)
    share = float((near[:, 0] < near[:, 1]).double().mean())
    assert share == pytest.approx(0.75, abs=0.07)
    away = drawn - mixture.means[near.argmin(1)]
    assert abs(float(away.mean())) < 0.01
    assert float(away.std()) == pytest.approx(STD, rel=0.1)


def test_labels_and_guidance(mixture: Mixture) -> None:
    model = k_style(mixture)
    drawn = model.sample(6, texts=["rare"], sampling=Sampling(steps=10, guidance=1.5)).double() / 127.5 - 1
    near = (drawn[:, None] - mixture.means).square().flatten(2).mean(2)
    assert (near.argmin(1) == 1).all()


def test_it_cleans_pictures(mixture: Mixture) -> None:
    clean = mixture.draw(1, torch.Generator().manual_seed(2))[0]
    noisy = clean + 0.4 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    picture = (noisy.numpy().transpose(1, 2, 0) + 1) / 2
    for model in (from_edm(EDM(mixture), SHAPE), k_style(mixture)):
        done = model.denoise(picture.astype(np.float32), 0.2, Cleaning(clipped=False))
        exact = mixture(noisy[None], Level.of(0.4))[0].numpy().transpose(1, 2, 0)
        assert np.abs(2 * done - 1 - exact).max() < 1e-4


def test_it_is_judged(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 40)
    grey = from_edm(
        lambda x, sigma, labels: x / (1 + sigma.square().view(-1, 1, 1, 1)), (3, SIDE, SIDE), sigma_data=1.0
    )
    found = judge(grey, n=8, data=str(folder), features=small_features, sampling=Sampling(steps=3))  # type: ignore[arg-type]
    assert found.verdict.n == 8
    verdict = judge_denoised(grey, Noisy(clip=False), n=2, data=str(folder))
    assert verdict.denoised.of_mean > verdict.noisy.of_mean
