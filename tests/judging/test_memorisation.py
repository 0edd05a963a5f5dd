"""A model that copies is caught, one that does not is not, at any sizes of the two sets."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from sfumato.judging.memorisation import Memorisation, memorisation, nearer_share, pixel_distance
from sfumato.judging.stats import wilson

DIM, SIDE = 12, 8


class World:
    """Pictures that are a smooth function of hidden features, so that both spaces agree."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.paint = np.random.default_rng(99).normal(size=(DIM, 3 * SIDE * SIDE))

    def draw(self, n: int) -> np.ndarray:
        return self.rng.normal(size=(n, DIM))

    def pixels(self, features: np.ndarray) -> torch.Tensor:
        flat = np.clip(128 + 12 * features @ self.paint, 0, 255).round().astype(np.uint8)
        return torch.from_numpy(flat).view(-1, 3, SIDE, SIDE)

    def judge(self, samples: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> Memorisation:
        pixels = (self.pixels(samples), self.pixels(train), self.pixels(held_out))
        return memorisation(samples, train, held_out, pixels, seed=1)


SIZES = [(600, 2000, 400), (400, 300, 15), (50, 30, 2), (300, 100, 500)]


@pytest.mark.parametrize(("n", "m", "h"), SIZES)
def test_copies_of_the_training_set_are_caught(n: int, m: int, h: int) -> None:
    world = World(0)
    train, held_out = world.draw(m), world.draw(h)
    chosen = world.rng.integers(m, size=n)
    found = world.judge(train[chosen] + 0.01 * world.draw(n), train, held_out)
    assert found.level == "strong"
    assert found.copies > 0.95
    assert found.pixel_copies > 0.9
    assert all(pair.train == chosen[pair.sample] for pair in found.pairs)
    assert all(pair.distance < pair.held_out_distance for pair in found.pairs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "m", "h"), SIZES)
def test_fresh_samples_are_not_accused(n: int, m: int, h: int, seed: int) -> None:
    world = World(10 + seed)
    found = world.judge(world.draw(n), world.draw(m), world.draw(h))
    assert found.level in ("none", "unknown")
    assert (found.level == "unknown") == (min(m, h) < 20)
    assert found.nearer_low < 0.5
    assert found.copies < 5 * found.chance


def test_dull_samples_are_not_copies() -> None:
    """Samples crowded around the mean are near to every picture: a plain distance would call them copies."""
    world = World(3)
    found = world.judge(0.3 * world.draw(500), world.draw(1500), world.draw(300))
    assert found.level == "none"
    assert found.copies < 0.03


def test_one_sample_in_five_is_enough() -> None:
    world = World(4)
    train, held_out = world.draw(2000), world.draw(400)
    samples = np.concatenate([train[:100], world.draw(400)])
    found = world.judge(samples, train, held_out)
    assert found.level in ("some", "strong")
    assert found.copies == pytest.approx(0.2, abs=0.03)
    assert {pair.sample for pair in found.pairs} <= set(range(100))
    assert found.pairs[0].distance == 0
    assert found.pairs[0].pixels == 0


def test_a_larger_training_set_does_not_bias_the_share_and_the_interval_covers() -> None:
    shares, covered = [], 0
    for seed in range(120):
        world = World(100 + seed)
        share, low, high, compared = nearer_share(world.draw(200), world.draw(1000), world.draw(30), seed)
        shares.append(share)
        covered += low <= 0.5 <= high
        assert compared == 30
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert covered >= 0.9 * 120


def test_ties_count_half() -> None:
    x = np.random.default_rng(0).normal(size=(10, 3))
    assert nearer_share(x, x, x.copy())[0] == 0.5


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (250, 500)])
def test_wilson_equals_scipy(k: int, n: int) -> None:
    exact = binomtest(k, n).proportion_ci(0.95, method="wilson")
    found = wilson(k / n, n)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-4)


def test_pixel_distance_sees_mirrored_copies_and_shrinks_large_pictures() -> None:
    x = torch.randint(0, 256, (3, 1, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert pixel_distance(x, x.flip(3)).tolist() == [0, 0, 0]
    assert pixel_distance(torch.zeros_like(x), torch.full_like(x, 51)) == pytest.approx(0.2)
    assert pixel_distance(torch.zeros(1, 3, 200, 300), torch.full((1, 3, 200, 300), 51)) == pytest.approx(0.2)


def test_too_few_pictures_are_refused() -> None:
    world = World(0)
    with pytest.raises(ValueError, match="at least 3"):
        world.judge(world.draw(5), world.draw(2), world.draw(5))
