"""Confidence intervals of figures that were measured on n pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

Z = 1.96  # standard deviations on each side of a 95 % interval


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def wilson(share: float, n: float) -> Interval:
    """A binomial share of n trials with its score interval (Wilson 1927), within [0, 1].

    n: above 0, and an effective number where trials are not independent.
    """
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def mean_interval(values: np.ndarray) -> Interval:
    """The mean of independent values (n,), with its standard error taken as normal; of one value, that alone."""
    mean = float(values.mean())
    half = Z * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return Interval(mean, mean - half, mean + half)


def spread_interval(value: float, redrawn: Sequence[float], least: float = -math.inf) -> Interval:
    """A value with an interval from the spread of its bootstrap values, which are biased; not below `least`."""
    half = Z * float(np.std(redrawn, ddof=1))
    return Interval(value, max(least, value - half), value + half)


def bootstrap(rows: Sequence[Tensor], figure: Callable[..., Tensor], draws: int = 400) -> Interval:
    """`figure(*rows)` with its percentiles when the pictures of each row are drawn with replacement (bootstrap).

    rows: (N,) each, of any lengths, on the CPU. Equal arguments give equal intervals.
    """
    generator = torch.Generator().manual_seed(0)

    def again(row: Tensor) -> Tensor:
        return row[torch.randint(0, len(row), (len(row),), generator=generator)]

    redrawn = [float(figure(*map(again, rows))) for _ in range(draws)]
    low, high = torch.tensor(redrawn).quantile(torch.tensor([0.025, 0.975])).tolist()
    return Interval(float(figure(*rows)), low, high)
