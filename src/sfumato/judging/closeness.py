"""How close pictures are to single training pictures, and how often real pictures are so close by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sfumato.judging.neighbours import nearest
from sfumato.judging.stats import Interval, wilson
from sfumato.judging.thumbs import clusters, independent, mirrored, thumbs

CROWD = 50  # neighbours that measure the density of the training set around a picture
NEAR = 0.45  # closeness in thumbs below which a picture is a near-copy


def crowding(
    queries: np.ndarray, train: np.ndarray, skip: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much closer the nearest training picture is than the next ones: d1 / mean(d2 .. dk), (n,); with its
    index and that mean.

    It is near 1 for an ordinary picture and near 0 for a copy, for any scale of the features and for blurred samples;
    by distance alone every average picture would count as a copy (Carlini et al. 2023, section 4.2).
    skip: the queries' own indices, if they are training pictures.
    """
    k = min(CROWD + 1, len(train) - (skip is not None))
    distance, index = nearest(queries, train, k, skip)
    around = distance[:, 1:].mean(1) if k > 1 else np.ones(len(queries))
    return distance[:, 0] / np.maximum(around, 1e-12), index[:, 0], around


@dataclass(frozen=True)
class Closeness:
    """How close pictures are to one training picture, relative to its neighbours: on features and in thumbs, (n,).

    index: that training picture by features, or by thumbs where these are closer; around: the distance from a crowd of
    them in thumbs; clusters: see `thumbs.clusters`.
    """

    features: np.ndarray
    pixels: np.ndarray
    index: np.ndarray
    around: np.ndarray
    clusters: np.ndarray

    @classmethod
    def of(
        cls,
        features: np.ndarray,
        pictures: Tensor,
        train: np.ndarray,
        small: np.ndarray,
        skip: np.ndarray | None = None,
    ) -> Closeness:
        """small: thumbs of the training pictures; skip: the pictures' own indices, if they are training pictures."""
        ratio, index, _ = crowding(features, train, skip)
        flat = thumbs(pictures)
        straight, at, around = crowding(flat, small, skip)
        flipped, other, _ = crowding(mirrored(flat), small, skip)
        pixels = np.minimum(straight, flipped)
        by_pixels = np.where(straight <= flipped, at, other)
        return cls(ratio, pixels, np.where(pixels < NEAR, by_pixels, index), around, clusters(flat, around))

    def copies(self, bound: float) -> np.ndarray:
        """Whether each is a near-copy, (n,) bool. bound: of the closeness on features."""
        return (self.features < bound) | (self.pixels < NEAR)


def chance_of(reals: Sequence[Closeness], bound: float) -> Interval:
    """The share of real pictures that are near-copies: of the held-out ones, or of all if that is more certain.

    A training picture that has its burst beside it says nothing about held-out pictures of other bursts.
    """
    shares = [each.copies(bound) for each in reals]
    worth = [independent(each.clusters) for each in reals]
    held = wilson(float(shares[0].mean()), worth[0])
    every = wilson(float(np.concatenate(shares).mean()), sum(worth))
    return min(held, every, key=lambda each: each.high)
