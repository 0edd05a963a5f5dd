"""Whether a model repeats its training pictures: nearest training picture against nearest held-out picture.

The samples of a model that generalises are as near to held-out pictures as to training pictures: with equally
many of both, the nearest picture is a training picture half the time. Those of a model that memorises are nearer to
training pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato.judging.neighbours import nearest
from sfumato.judging.stats import wilson

CROWD = 50  # neighbours that measure the density of the training set around a picture
FEW = 100  # with fewer held-out pictures the threshold is set by training pictures too
MOST = 5000  # real pictures that set the threshold
SIDE = 64  # largest side at which pixels are compared


@dataclass(frozen=True)
class Pair:
    """A sample and its nearest training picture; indices into the given sets.

    Distances are in feature space; pixels: root mean square difference on the [0, 1] scale, mirrored if that
    is nearer.
    """

    sample: int
    train: int
    distance: float
    held_out: int
    held_out_distance: float
    pixels: float


@dataclass(frozen=True)
class Memorisation:
    """nearer: share of samples nearer to a training than to a held-out picture, `compared` pictures of each,
    with a 95 % interval.

    copies: share of samples that are closer to one training picture, relative to its neighbours, than 99 % of real
    pictures, with an interval; chance: the share for real pictures; pixel_copies: those of them whose
    pixels agree too. pairs: the most suspicious first. level: "none", "some", "strong" or "unknown";
    verdict: the same in words.
    """

    nearer: float
    nearer_low: float
    nearer_high: float
    compared: int
    copies: float
    copies_low: float
    copies_high: float
    chance: float
    pixel_copies: float
    pairs: tuple[Pair, ...]
    level: str
    verdict: str


def nearer_share(
    samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, seed: int = 0
) -> tuple[float, float, float, int]:
    """The share of samples whose nearest real picture is a training picture, its 95 % interval, and how many
    of each were compared.

    The larger set is cut at random to the size of the smaller, so that a model that generalises has 0.5 for any
    sizes. Samples that share a nearest picture are not independent: the interval is Wilson's with n divided by the
    design effect, the ratio of the share's variance under random exchange of training and held-out pictures to that of
    n independent samples.
    """
    rng = np.random.default_rng(seed)
    size = min(len(train), len(held_out))
    pool = np.concatenate([chosen[rng.permutation(len(chosen))[:size]] for chosen in (train, held_out)])
    distance, index = nearest(samples, pool, min(2, len(pool)))
    is_train = index < size
    tie = (distance[:, 0] == distance[:, -1]) & (is_train[:, 0] != is_train[:, -1])
    share = float(np.where(tie, 0.5, is_train[:, 0]).mean())
    wins = np.bincount(index[:, 0], minlength=len(pool))
    effect = max(1.0, float(np.var(wins, ddof=1) * len(pool) / len(samples)))
    found = wilson(share, len(samples) / effect)
    return share, found.low, found.high, size


def crowding(
    queries: np.ndarray, train: np.ndarray, skip: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much closer the nearest training picture is than the next ones: d1 / mean(d2 .. dk), (n,); with d1
    and its index.

    It is near 1 for an ordinary picture and near 0 for a copy, for any scale of the features and for blurred samples;
    by distance alone every average picture would count as a copy (Carlini et al. 2023, section 4.2).
    skip: the queries' own indices, if they are training pictures.
    """
    k = min(CROWD + 1, len(train) - (skip is not None))
    distance, index = nearest(queries, train, k, skip)
    around = distance[:, 1:].mean(1) if k > 1 else np.ones(len(queries))
    return distance[:, 0] / np.maximum(around, 1e-12), distance[:, 0], index[:, 0]


def pixel_distance(a: Tensor, b: Tensor) -> np.ndarray:
    """Root mean square difference of uint8 pictures (n, C, H, W), pair by pair, on [0, 1]; the smaller of b
    and b mirrored.
    """
    x, y = _small(a), _small(b)
    straight, mirrored = ((x - z).square().mean((1, 2, 3)) for z in (y, y.flip(3)))
    return torch.minimum(straight, mirrored).sqrt().double().numpy()


def _small(pictures: Tensor) -> Tensor:
    x = pictures.cpu().float() / 255
    height, width = x.shape[2:]
    if max(height, width) > SIDE:
        scale = SIDE / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        x = F.interpolate(x, size, mode="bilinear", antialias=True)
    return x


def memorisation(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    pixels: tuple[Tensor, Tensor, Tensor],
    seed: int = 0,
    shown: int = 8,
) -> Memorisation:
    """Judge from features (n, dim) of the samples, the training and the held-out pictures.

    pixels: the same three sets as uint8 (n, C, H, W), in the same order; shown: number of pairs in the result.
    Needs at least 3 training pictures and 1 held-out picture (ValueError otherwise).
    """
    if len(train) < 3 or len(held_out) < 1:
        raise ValueError("needs at least 3 training pictures and 1 held-out picture")
    shots, taught, unseen = pixels
    rng = np.random.default_rng(seed)
    nearer, low, high, compared = nearer_share(samples, train, held_out, seed)

    ratio, distance, index = crowding(samples, train)
    rows = rng.permutation(len(held_out))[:MOST]
    real, _, real_index = crowding(held_out[rows], train)
    real_pixels = pixel_distance(unseen[rows], taught[real_index])
    if len(rows) < FEW:
        rows = rng.permutation(len(train))[:MOST]
        more, _, others = crowding(train[rows], train, skip=rows)
        real = np.concatenate([real, more])
        real_pixels = np.concatenate([real_pixels, pixel_distance(taught[rows], taught[others])])
    close = ratio < np.quantile(real, 0.01)
    sample_pixels = pixel_distance(shots, taught[index])
    same = close & (sample_pixels < np.quantile(real_pixels, 0.01))

    copies = float(close.mean())
    sure = wilson(copies, len(samples))
    held_distance, held_index = nearest(samples, held_out)
    pairs = tuple(
        Pair(
            int(i), int(index[i]), float(distance[i]), int(held_index[i, 0]), float(held_distance[i, 0]),
            float(sample_pixels[i]),
        )
        for i in np.argsort(ratio, kind="stable")[:shown]
    )  # fmt: skip
    chance = max(0.01, 1 / len(real))
    below = chance * len(real)
    doubt = chance * (1 + 2 / math.sqrt(below) + 2 / below)
    level, verdict = _words(nearer, low, compared, copies, sure.low, chance, doubt)
    return Memorisation(
        nearer, low, high, compared,
        copies, sure.low, sure.high, chance, float(same.mean()), pairs, level, verdict,
    )  # fmt: skip


def _words(
    nearer: float, low: float, compared: int, copies: float, copies_low: float, chance: float, doubt: float
) -> tuple[str, str]:
    """doubt: the share that chance can produce if few real pictures are below the threshold. A verdict needs three
    standard deviations and not the two of the interval, which one model in forty exceeds by chance.
    """
    facts = (
        f"{copies:.1%} are near-copies (of real pictures {chance:.0%}); "
        f"{nearer:.0%} are nearer to a training than to a held-out picture (50% without memorisation)"
    )
    if copies_low > max(0.1, doubt) or low > 0.75:
        return "strong", f"The model repeats its training pictures: {facts}."
    if copies_low > doubt or nearer - 1.5 * (nearer - low) > 0.5:
        return "some", f"There are signs of memorised training pictures: {facts}."
    if compared < 20:
        few = f"{compared} held-out pictures are too few to be sure"
        return "unknown", f"No more near-copies than by chance, but {few}: {facts}."
    return "none", f"No sign of memorised training pictures: {facts}."
