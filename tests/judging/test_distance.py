"""Frechet, kernel distance, precision and recall against scipy, torchmetrics and plain loops."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from sfumato.judging.distance import Moments, coverage, frechet, frechet_interval, kid, mmd2, precision_recall


def sets(n: int, m: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(dim, dim)) / np.sqrt(dim)
    return rng.normal(size=(n, dim)) @ mix + 0.3, rng.normal(size=(m, dim)) * 1.3 + 5


def by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(0) - b.mean(0)
    return float(gap @ gap + np.trace(s1 + s2 - 2 * scipy.linalg.sqrtm(s1 @ s2).real))


def by_nuclear_norm(a: np.ndarray, b: np.ndarray) -> float:
    """tr (S1 S2)^1/2 as the nuclear norm of the product of centred data: no square root of a covariance."""
    x, y = ((z - z.mean(0)) / np.sqrt(len(z) - 1) for z in (a, b))
    gap = a.mean(0) - b.mean(0)
    return float(gap @ gap + (x * x).sum() + (y * y).sum() - 2 * np.linalg.svd(x @ y.T, compute_uv=False).sum())


def test_frechet_equals_scipy_and_torchmetrics() -> None:
    a, b = sets(400, 300, 24)
    value = frechet(a, b)
    assert value == pytest.approx(by_scipy(a, b), rel=1e-9)
    stats = [torch.from_numpy(z) for x in (a, b) for z in (x.mean(0), np.cov(x, rowvar=False))]
    assert value == pytest.approx(float(_compute_fid(*stats)), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(10, 12), (10, 500), (500, 10), (64, 65)])
def test_fewer_rows_than_dimensions(n: int, m: int) -> None:
    a, b = sets(n, m, 64)
    assert frechet(a, b) == pytest.approx(by_nuclear_norm(a, b), rel=1e-9)
    assert frechet(b, a) == pytest.approx(frechet(a, b), rel=1e-9)


def test_constant_and_dead_features_do_not_disturb() -> None:
    a, b = sets(200, 300, 8)
    wide = [np.concatenate([x, np.full((len(x), 4), 3.0), x[:, :2]], 1) for x in (a, b)]
    assert frechet(*wide) == pytest.approx(by_nuclear_norm(*wide), rel=1e-9)
    assert frechet(np.ones((5, 3)), np.ones((7, 3))) == 0


@settings(max_examples=30)
@given(st.integers(2, 40), st.integers(1, 12), st.floats(0.01, 100), st.floats(-1000, 1000))
def test_frechet_of_a_set_with_itself_and_its_shift(n: int, dim: int, scale: float, shift: float) -> None:
    x = np.random.default_rng(n).normal(size=(n, dim)) * scale
    assert frechet(x, x) <= 1e-9 * scale * scale * dim
    assert frechet(x, x + shift) == pytest.approx(dim * shift * shift, rel=1e-6, abs=1e-9 * scale * scale * dim)


def test_moments_in_blocks_of_float32_far_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.judging.distance.ROWS", 7)
    x = (np.random.default_rng(0).normal(size=(100, 5)) + 1000).astype(np.float32)
    rows = np.random.default_rng(1).integers(100, size=60)
    for got, wanted in ((Moments.of(x), x), (Moments.of(x, rows), x[rows])):
        exact = wanted.astype(np.float64)
        np.testing.assert_allclose(got.mean, exact.mean(0), rtol=1e-12)
        np.testing.assert_allclose(got.covariance, np.cov(exact, rowvar=False), rtol=1e-8, atol=1e-12)
    with pytest.raises(ValueError, match="at least 2"):
        Moments.of(x[:1])


@pytest.mark.parametrize(("shift", "scale", "most"), [(0.35, 1.2, 0.99), (0.0, 1.0, 1.0)])
def test_interval_covers_the_average_distance(shift: float, scale: float, most: float) -> None:
    """The nominal 95 % hold away from the floor; at the floor the interval is wide, not short."""
    rng = np.random.default_rng(0)
    n, m, dim = 150, 300, 6

    def draw() -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=(n, dim)) * scale + shift, rng.normal(size=(m, dim))

    target = np.mean([frechet(*draw()) for _ in range(600)])
    found = [frechet_interval(*draw(), resamples=40, seed=k) for k in range(120)]
    covered = np.mean([each.low <= target <= each.high for each in found])
    assert 0.9 <= covered <= most
    assert all(0 <= each.low <= each.value <= each.high for each in found)


def test_interval_is_a_function_of_its_seed() -> None:
    a, b = sets(50, 60, 4)
    assert frechet_interval(a, b, 10, seed=3) == frechet_interval(a, b, 10, seed=3)
    assert frechet_interval(a, b, 10, seed=3) != frechet_interval(a, b, 10, seed=4)


def test_mmd2_equals_torchmetrics() -> None:
    a, b = sets(80, 80, 16)
    assert mmd2(a, b) == pytest.approx(float(poly_mmd(torch.from_numpy(a), torch.from_numpy(b))), rel=1e-9)


def test_mmd2_equals_a_plain_loop_for_unequal_sizes() -> None:
    a, b = sets(7, 5, 3)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 3 + 1) ** 3)

    def apart(z: np.ndarray) -> float:
        return float(np.mean([kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]))

    across = np.mean([kernel(x, y) for x in a for y in b])
    assert mmd2(a, b) == pytest.approx(apart(a) + apart(b) - 2 * across, rel=1e-9)


def test_kid_is_unbiased_and_its_error_is_the_spread() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(200, 4)), rng.normal(size=(200, 4)) + 0.4) for _ in range(150)]
    found = np.array([kid(a, b, subsets=40, size=60, seed=k) for k, (a, b) in enumerate(pairs)])
    spread = found[:, 0].std()
    assert 0.7 * spread < found[:, 1].mean() < 1.6 * spread
    same = [kid(rng.normal(size=(60, 4)), rng.normal(size=(60, 4)), subsets=20)[0] for _ in range(100)]
    assert abs(np.mean(same)) < 4 * np.std(same) / 10
    with pytest.raises(ValueError, match="at least 4"):
        kid(np.ones((3, 2)), np.ones((9, 2)))


@pytest.mark.parametrize("block", [1, 1 << 24])
def test_precision_recall_equal_a_plain_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.judging.neighbours.BLOCK", block)
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(70, 3)), rng.normal(size=(60, 3)) * 0.6 + 0.8

    def covered(points: np.ndarray, centres: np.ndarray) -> float:
        radii = np.sort(cdist(centres, centres), axis=1)[:, 3]
        return float((cdist(points, centres) <= radii).any(1).mean())

    assert precision_recall(real, fake) == (covered(fake, real), covered(real, fake))


def test_precision_and_recall_tell_quality_from_variety() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(500, 8))
    narrow = rng.normal(size=(500, 8)) * 0.3
    precision, recall = precision_recall(real, narrow)
    assert precision > 0.95
    assert recall < 0.2
    precision, recall = precision_recall(real, real + 100)
    assert (precision, recall) == (0, 0)


def test_coverage_is_the_share_of_real_balls_that_hold_a_sample() -> None:
    real = np.arange(40, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    assert coverage(real + 0.1, real) == 1
    assert coverage(real + 1000, real) == 0
    assert coverage(real[:1] + 0.1, real, k=2) == pytest.approx(2 / 40)  # the first two reach the sample at 0.1
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 2)), rng.normal(size=(50, 2))
    far = np.linalg.norm(a[:, None] - a, axis=2)
    radii = np.sort(far, axis=1)[:, 5]
    plain = (np.linalg.norm(a[:, None] - b, axis=2) <= radii[:, None]).any(1).mean()
    assert coverage(b, a) == plain
