"""The shipped denoisers clean what nobody could miss: flat areas, edges, and noise they must read themselves."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import sfumato
from sfumato.denoising.denoise import Cleaning
from sfumato.models.model import Model

SIDES = {"photo": (97, 131), "cifar10-denoise": (32, 32)}
GAIN = {"photo": 14.0, "cifar10-denoise": 10.0}  # dB at sigma 0.1 on the drawn picture
STILL = {"photo": 38.0, "cifar10-denoise": 36.0}  # dB of a clean picture said to be nearly clean


@functools.cache
def shipped(name: str) -> Model:
    return sfumato.load(name)


def drawn(height: int, width: int) -> Tensor:
    """A shaded ground with a disc and a bar on it, (1, 3, H, W) in [0.1, 0.9]."""
    fine = 4  # soft edges, as photos have
    y, x = torch.meshgrid(torch.linspace(0, 1, fine * height), torch.linspace(0, 1, fine * width), indexing="ij")
    ground = torch.stack([0.3 + 0.3 * x, 0.5 - 0.2 * y, 0.4 + 0.2 * x * y])
    disc = ((y - 0.4).square() + (x - 0.35).square()).sqrt() < 0.2
    ground[:, disc] = torch.tensor([0.85, 0.7, 0.2])[:, None]
    ground[:, (y > 0.75) & (y < 0.85) & (x > 0.25)] = 0.15
    return functional.avg_pool2d(ground[None], fine)


def noise(like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(0))


def psnr(x: Tensor, truth: Tensor) -> float:
    return -10 * math.log10(float((x - truth).square().mean()))


@pytest.mark.parametrize("name", SIDES)
def test_noise_goes_and_the_picture_stays(name: str) -> None:
    truth = drawn(*SIDES[name])
    noisy = truth + 0.1 * noise(truth)
    clean = shipped(name).denoise(noisy, sigma=0.1)
    assert psnr(clean, truth) > psnr(noisy, truth) + GAIN[name]


@pytest.mark.parametrize("sigma", [15 / 255, 50 / 255])
@pytest.mark.parametrize("name", SIDES)
def test_a_flat_wall_comes_out_flat(name: str, sigma: float) -> None:
    truth = torch.full((1, 3, *SIDES[name]), 0.4)
    clean = shipped(name).denoise(truth + sigma * noise(truth), sigma=sigma)
    assert float((clean - truth).square().mean().sqrt()) < 0.1 * sigma


@pytest.mark.parametrize("name", SIDES)
def test_clipped_noise_is_cleaned_about_as_well(name: str) -> None:
    truth = drawn(*SIDES[name])
    pure = truth + 0.2 * noise(truth)
    model = shipped(name)
    clipped = psnr(model.denoise(pure.clamp(0, 1), sigma=0.2, cleaning=Cleaning(clipped=True)), truth)
    assert clipped > psnr(model.denoise(pure, sigma=0.2, cleaning=Cleaning(clipped=False)), truth) - 1


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.2])
def test_a_gauge_reads_the_level(sigma: float) -> None:
    truth = drawn(32, 32)
    model = shipped("cifar10-denoise")
    noisy = (truth + sigma * noise(truth)).clamp(0, 1)
    assert psnr(model.denoise(noisy), truth) > psnr(model.denoise(noisy, sigma=sigma), truth) - 0.5


@pytest.mark.parametrize("name", SIDES)
def test_no_noise_changes_little(name: str) -> None:
    truth = drawn(*SIDES[name])
    assert psnr(shipped(name).denoise(truth, sigma=0.005), truth) > STILL[name]
