"""Distances between two sets of pictures, from their features, in float64.

The Fréchet distance (Heusel et al. 2017), the kernel distance (Bińkowski et al. 2018), precision and recall
(Kynkäänniemi et al. 2019). Features are arrays (n, dim), one row a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfumato.judging.neighbours import nearest, within_any
from sfumato.judging.stats import Interval, spread_interval

ROWS = 8192  # rows converted to float64 at a time


@dataclass(frozen=True)
class Moments:
    """The mean (dim,) and the unbiased covariance (dim, dim) of n rows."""

    n: int
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, rows: np.ndarray | None = None) -> Moments:
        """Of all rows, or of those named by index (repeats count). Raises ValueError below 2 rows."""
        n = len(features) if rows is None else len(rows)
        if n < 2:
            raise ValueError(f"a covariance needs at least 2 rows, not {n}")
        centre = features.mean(0, dtype=np.float64)
        total, squares = np.zeros_like(centre), np.zeros((len(centre), len(centre)))
        for start in range(0, n, ROWS):
            part = slice(start, start + ROWS)
            block = features[part if rows is None else rows[part]] - centre
            total += block.sum(0)
            squares += block.T @ block
        shift = total / n
        return cls(n, centre + shift, (squares - n * np.outer(shift, shift)) / (n - 1))


def frechet(a: np.ndarray | Moments, b: np.ndarray | Moments) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2), between Gaussians fitted to two sets of features.

    Dowson and Landau 1982; Heusel et al. 2017, eq. 6. The symmetric form keeps every eigenvalue real; those
    that are only rounding (fewer rows than dimensions) are dropped before their square root makes them large.
    """
    one = a if isinstance(a, Moments) else Moments.of(a)
    two = b if isinstance(b, Moments) else Moments.of(b)
    values, vectors = np.linalg.eigh(one.covariance)
    kept = values > _noise(values)
    root = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    inner = np.linalg.eigvalsh(root @ two.covariance @ root.T)
    overlap = np.sqrt(inner[inner > _noise(inner)]).sum()
    gap = one.mean - two.mean
    return max(0.0, float(gap @ gap + np.trace(one.covariance) + np.trace(two.covariance) - 2 * overlap))


def _noise(values: np.ndarray) -> float:
    """Below this, eigenvalues of a covariance are rounding."""
    return float(len(values) * np.finfo(np.float64).eps * values.max(initial=0.0))


def frechet_interval(fake: np.ndarray, real: np.ndarray, resamples: int = 100, seed: int = 0) -> Interval:
    """The Fréchet distance with a 95 % interval for what it is on average at these two numbers of pictures.

    Both sets are drawn again with replacement. Redrawing raises every distance by about the bias that n
    pictures already have, so the interval of percentiles lies too high, often above the value itself. Only
    the spread of the redrawn distances is used: value +- 1.96 standard deviations, not below 0. For two sets
    of one distribution, where the distance is near its floor, this is wider than it need be, never narrower.
    The value's bias for finite n is not removed: compare it with the floor and with other models at the same
    n.
    """
    rng = np.random.default_rng(seed)
    value = frechet(fake, real)
    drawn = [
        frechet(
            Moments.of(fake, rng.integers(len(fake), size=len(fake))),
            Moments.of(real, rng.integers(len(real), size=len(real))),
        )
        for _ in range(resamples)
    ]
    return spread_interval(value, drawn, least=0.0)


def mmd2(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased estimate of the squared MMD with the kernel (x.y / dim + 1)^3; may be below 0.

    Gretton et al. 2012, eq. 3; the kernel of Bińkowski et al. 2018, section 4.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    n, m, dim = len(x), len(y), x.shape[1]

    def apart(z: np.ndarray) -> float:
        kernel = (z @ z.T / dim + 1) ** 3
        return float(kernel.sum() - np.trace(kernel)) / (len(z) * (len(z) - 1))

    return apart(x) + apart(y) - 2 * float(((x @ y.T / dim + 1) ** 3).sum()) / (n * m)


def kid(a: np.ndarray, b: np.ndarray, subsets: int = 100, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The kernel distance and its standard error.

    The mean of `mmd2` over `subsets` random subsets of `size` rows of each set; with fewer than 2 x size
    rows in the smaller set of n, of n // 2. The error is that of the whole sets, from the spread of subsets
    that share rows: a delete-d jackknife, std * sqrt(size / (n - size)) (Shao and Wu 1989). Raises
    ValueError below 4 rows.
    """
    n = min(len(a), len(b))
    if n < 4:
        raise ValueError(f"the kernel distance needs at least 4 rows, not {n}")
    size = min(size, n // 2)
    rng = np.random.default_rng(seed)
    values = [
        mmd2(a[rng.choice(len(a), size, replace=False)], b[rng.choice(len(b), size, replace=False)])
        for _ in range(subsets)
    ]
    return float(np.mean(values)), float(np.std(values, ddof=1) * np.sqrt(size / (n - size)))


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Precision: the share of fakes within the manifold of the reals; recall: of reals within that of the
    fakes.

    A set's manifold is the union of balls around its rows, each as wide as the distance to the row's k-th
    neighbour in the set (Kynkäänniemi et al. 2019, eq. 2-4). Comparable only at equal numbers of reals and
    fakes. Raises ValueError below k + 1 rows.
    """
    real_radii = nearest(real, real, k, skip=np.arange(len(real)))[0][:, -1]
    fake_radii = nearest(fake, fake, k, skip=np.arange(len(fake)))[0][:, -1]
    precision, recall = within_any(fake, real, real_radii), within_any(real, fake, fake_radii)
    return float(precision.mean()), float(recall.mean())


def coverage(samples: np.ndarray, training: np.ndarray, k: int = 5) -> float:
    """The share of training pictures that have a sample nearer than their own k-th neighbour (Naeem et al. 2020).

    Raises ValueError below k + 1 training pictures.
    """
    radii = nearest(training, training, k, skip=np.arange(len(training)))[0][:, -1]
    return float((nearest(training, samples)[0][:, 0] <= radii).mean())
