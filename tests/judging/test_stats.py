"""Intervals: against scipy, and bit for bit as they have always been."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm

from sfumato.judging.stats import Interval, bootstrap, mean_interval, spread_interval, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (9, 10), (10, 10), (373, 1000)])
def test_a_share_has_wilsons_interval(k: int, n: int) -> None:
    found, exact = wilson(k / n, n), binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((k / n, exact.low, exact.high), abs=1e-4)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_an_effective_number_need_not_be_whole() -> None:
    narrow, wide = wilson(0.3, 100), wilson(0.3, 40.5)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_a_mean_has_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(30, 3, 500)
    found = mean_interval(values)
    low, high = norm.interval(0.95, values.mean(), values.std(ddof=1) / 500**0.5)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    assert found == Interval(29.919330304445943, 29.652525647118846, 30.18613496177304)
    assert mean_interval(np.array([2.5])) == Interval(2.5, 2.5, 2.5)


def test_a_redrawn_figure_is_as_wide_as_its_spread() -> None:
    assert spread_interval(2.0, [1.0, 3.0, 5.0]) == Interval(2.0, 2.0 - 1.96 * 2, 2.0 + 1.96 * 2)
    assert spread_interval(2.0, [1.0, 3.0, 5.0], least=0.0).low == 0


def test_a_bootstrap_is_the_same_again() -> None:
    generator = torch.Generator().manual_seed(5)
    rows = [torch.rand(n, generator=generator) for n in (18, 18, 12)]
    found = bootstrap(rows, lambda a, b, c: a.mean() * b.mean() - 0.1 * c.mean())
    expected = (0.2016783356666565, 0.10899170488119125, 0.3165370225906372)
    assert (found.value, found.low, found.high) == pytest.approx(expected, rel=1e-6)
    assert bootstrap(rows[:1], torch.mean) == bootstrap(rows[:1], torch.mean)
    assert bootstrap([torch.ones(5)], torch.mean) == Interval(1.0, 1.0, 1.0)


def test_an_interval_as_json() -> None:
    assert Interval(1.0, 0.5, 2.0).to_json() == {"value": 1.0, "low": 0.5, "high": 2.0}
