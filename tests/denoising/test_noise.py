"""The estimate of a photo's noise: white, correlated, clipped and none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sfumato.denoising.noise import OVERSTATED, estimate

RNG = np.random.default_rng(0)


def scene(side: int = 256) -> np.ndarray:
    """Soft areas, edges and a patch of texture."""
    y, x = np.mgrid[0:side, 0:side] / side
    picture = np.stack([0.3 + 0.4 * x, 0.5 + 0.3 * np.sin(3 * y), 0.6 - 0.3 * x * y], 2)
    picture[60:120, 40:150] += 0.2
    picture[150:210, 150:240] += 0.05 * RNG.standard_normal((60, 90, 1))
    return picture


@pytest.mark.parametrize("sigma", [0.01, 0.04, 0.1, 0.2])
def test_white_noise(sigma: float) -> None:
    noisy = scene() + sigma * RNG.standard_normal((256, 256, 3))
    assert estimate(noisy).sigma == pytest.approx(OVERSTATED * sigma, rel=0.12)


@pytest.mark.parametrize("sigma", [0.1, 0.2])
def test_clipped_noise(sigma: float) -> None:
    noisy = (scene() + sigma * RNG.standard_normal((256, 256, 3))).clip(0, 1)
    assert estimate(noisy).sigma == pytest.approx(OVERSTATED * sigma, rel=0.2)


def test_correlated_noise_is_not_overlooked() -> None:
    """Noise smeared over neighbours hides from the finest scale, where usual estimators look."""
    noise = gaussian_filter(RNG.standard_normal((256, 256, 3)), (0.8, 0.8, 0))
    found = estimate(scene() + 0.05 * noise / noise.std())
    assert found.fine < 0.5 * 0.05
    assert found.sigma == pytest.approx(0.05, rel=0.4)
    assert "correlated" in found.words()


def test_clean_pictures_have_little() -> None:
    assert estimate(scene()).sigma < 0.012
    assert estimate(np.full((64, 64, 1), 0.5)).sigma == 0


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 1), (33, 40)])
def test_any_size(size: tuple[int, int]) -> None:
    found = estimate(RNG.random((*size, 3)))
    assert 0 <= found.sigma <= 1
    assert np.isfinite(found.coarse)


@pytest.mark.parametrize("share", [0.15, 0.3, 0.6])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_bars_and_burnt_skies_hide_nothing(share: float, value: float) -> None:
    noisy = (scene() + 0.1 * RNG.standard_normal((256, 256, 3))).clip(0, 1)
    if share < 0.5 or value != 0.5:
        noisy[: int(256 * share)] = value
    assert estimate(noisy).sigma == pytest.approx(OVERSTATED * 0.1, rel=0.25)


def test_a_burnt_sky_with_clipped_noise_hides_nothing() -> None:
    picture = scene()
    picture[:110] = 1.0
    noisy = (picture + 0.1 * RNG.standard_normal((256, 256, 3))).clip(0, 1)
    assert estimate(noisy).sigma == pytest.approx(OVERSTATED * 0.1, rel=0.25)


def test_a_drawing_has_no_noise() -> None:
    picture = np.full((256, 256, 3), 0.9)
    picture[100:104, 20:200] = 0.1
    found = estimate(picture)
    assert found.sigma == 0
    assert found.words() == "no noise detected"
