"""Whether a model repeats its training pictures: nearest training picture against nearest held-out picture.

The samples of a model that generalises are as near to held-out pictures as to training pictures: with equally
many of both, the nearest picture is a training picture half the time. Those of a model that memorises are nearer to
training pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato.judging.closeness import NEAR, Closeness, chance_of, crowding
from sfumato.judging.neighbours import nearest
from sfumato.judging.stats import Interval, wilson
from sfumato.judging.thumbs import clusters, independent, thumbs

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

    copies: share of near-copies: samples that are closer to one training picture, relative to its neighbours, than 99 %
    of real pictures on features, or than NEAR in `thumbs`; chance: the share of real pictures of which this is true.
    Both have intervals that count pictures of one burst, or copies of one picture, as one. pixel_copies: those of the
    near-copies whose pixels agree; thumb_copies: those that are close in `thumbs`. pairs: the most suspicious first.
    level: "none", "some", "strong" or "unknown"; verdict: the same in words.
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
    chance_high: float = 1.0
    thumb_copies: float = 0.0


def nearer_share(
    samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, seed: int = 0
) -> tuple[float, float, float, int]:
    """The share of samples whose nearest real picture is a training picture, its 95 % interval, and how many
    of each were compared.

    The larger set is cut at random to the size of the smaller, so that a model that generalises has 0.5 for any
    sizes. Samples that share a nearest picture are not independent: the interval is Wilson's with n divided by the
    design effect, the ratio of the share's variance under random exchange of training and held-out pictures to that of
    n independent samples. Real pictures must be independent: one of a burst, see `one_each`.
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


def one_each(small: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some of the training pictures `rows`, one of each burst. small: thumbs of all training pictures.

    Bursts on one side cover fewer kinds of pictures than as many single pictures on the other, which are nearer then.
    """
    around = crowding(small[rows], small, rows)[2]
    chosen: np.ndarray = rows[np.unique(clusters(small[rows], around), return_index=True)[1]]
    return chosen


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
    small = thumbs(taught)
    drawn = Closeness.of(samples, shots, train, small)
    of_held = rng.permutation(len(held_out))[:MOST]
    reals = [Closeness.of(held_out[of_held], unseen[of_held], train, small)]
    shares = [pixel_distance(unseen[of_held], taught[reals[0].index])]
    if len(of_held) < FEW:
        rows = rng.permutation(len(train))[:MOST]
        reals.append(Closeness.of(train[rows], taught[rows], train, small, rows))
        shares.append(pixel_distance(taught[rows], taught[reals[1].index]))
    bound = float(np.quantile(np.concatenate([real.features for real in reals]), 0.01))
    close = drawn.copies(bound)
    sample_pixels = pixel_distance(shots, taught[drawn.index])
    same = close & (sample_pixels < np.quantile(np.concatenate(shares), 0.01))

    copies = float(close.mean())
    sure = wilson(copies, independent(drawn.clusters))
    chance = chance_of(reals, bound)
    size = min(len(train), len(of_held))  # equally many, so that both are thinned alike
    numbers = clusters(thumbs(unseen[of_held[:size]]), reals[0].around[:size])
    alone = of_held[np.unique(numbers, return_index=True)[1]]
    taken = one_each(small, rng.permutation(len(train))[:size])
    nearer, low, high, compared = nearer_share(samples, train[taken], held_out[alone], seed)
    level, verdict = _words(nearer, low, compared, copies, sure.low, chance)
    return Memorisation(
        nearer, low, high, compared,
        copies, sure.low, sure.high, chance.value, float(same.mean()),
        _pairs(drawn, bound, samples, train, held_out, sample_pixels, shown), level, verdict, chance.high,
        float((drawn.pixels < NEAR).mean()),
    )  # fmt: skip


def _pairs(
    drawn: Closeness,
    bound: float,
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    pixels: np.ndarray,
    shown: int,
) -> tuple[Pair, ...]:
    doubt = np.minimum(drawn.features / max(bound, 1e-12), drawn.pixels / NEAR)
    chosen = np.argsort(doubt, kind="stable")[:shown]
    held_distance, held_index = nearest(samples[chosen], held_out)
    distance = np.sqrt(np.square(samples[chosen].astype(np.float64) - train[drawn.index[chosen]]).sum(1))
    return tuple(
        Pair(int(i), int(drawn.index[i]), float(d), int(j[0]), float(e[0]), float(pixels[i]))
        for i, d, j, e in zip(chosen, distance, held_index, held_distance, strict=True)
    )


def _words(
    nearer: float, low: float, compared: int, copies: float, copies_low: float, chance: Interval
) -> tuple[str, str]:
    """Near-copies count if their interval and that of real pictures do not touch, which one model in two hundred
    reaches by chance; the share of the nearer needs three standard deviations.
    """
    shares = f"{copies:.1%} of the samples are near-copies, and {chance.value:.1%} of real pictures"
    facts = f"{shares}; {nearer:.0%} are nearer to a training than to a held-out picture (50% without memorisation)"
    if copies_low > max(0.1, chance.high) or low > 0.75:
        return "strong", f"The model repeats its training pictures: {facts}."
    if copies_low > chance.high or nearer - 1.5 * (nearer - low) > 0.5:
        return "some", f"There are signs of memorised training pictures: {facts}."
    if compared < 20:
        few = f"with {compared} held-out pictures only a model that copies most of the time is recognised"
        return "unknown", f"Not clear whether the model repeats training pictures, {few}: {facts}."
    return "none", f"No sign of memorised training pictures: {facts}."
