"""Pictures at 8 x 8 with mean and contrast removed, in which altered copies of a picture stay near to it.

Blur, JPEG, noise, another brightness or a crop by a pixel move features of a network by as much as another picture
does; at this size they hardly change anything. The bounds were set on CIFAR-10 (`benchmarks/copies.py`).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F

from sfumato.judging.neighbours import nearest

SIDE = 8  # pixels
FLAT = 0.02  # added to the contrast, so that the noise of flat pictures is not enlarged to a pattern
ALIKE = 0.6  # of the distance to a crowd of training pictures: closer pictures are not independent
LINKS = 8  # nearest pictures that can be alike to one
BATCH = 500


def thumbs(pictures: Tensor, contrast: bool = True) -> np.ndarray:
    """uint8 (N, C, H, W) -> float32 (N, C * 64): means of 8 x 8 areas on [0, 1].

    contrast: subtract each picture's mean and divide by its standard deviation, so that brightness and contrast do not
    count.
    """
    found = np.empty((len(pictures), pictures.shape[1] * SIDE * SIDE), dtype=np.float32)
    for start in range(0, len(pictures), BATCH):
        part = F.adaptive_avg_pool2d(pictures[start : start + BATCH].cpu().float() / 255, SIDE).flatten(1)
        if contrast:
            part = part - part.mean(1, keepdim=True)
            part = part / (part.std(1, keepdim=True) + FLAT)
        found[start : start + len(part)] = part.numpy()
    return found


def mirrored(flat: np.ndarray) -> np.ndarray:
    """The thumbs (N, C * 64) of the mirrored pictures."""
    return np.ascontiguousarray(flat.reshape(len(flat), -1, SIDE, SIDE)[..., ::-1]).reshape(flat.shape)


def clusters(flat: np.ndarray, around: np.ndarray) -> np.ndarray:
    """The number of the cluster of each picture, (N,): pictures of one burst, or copies of one picture, share it.

    flat: thumbs (N, D); around: the distance of each from a crowd of training pictures, (N,). Two pictures are linked
    if they are closer than ALIKE of it.
    """
    n = len(flat)
    k = min(LINKS, n - 1)
    if k < 1:
        return np.zeros(n, dtype=np.int64)
    distance, index = nearest(flat, flat, k, skip=np.arange(n))
    row, column = np.nonzero(distance < ALIKE * around[:, None])
    graph = coo_array((np.ones(len(row)), (row, index[row, column])), shape=(n, n))
    numbers: np.ndarray = connected_components(graph, directed=False)[1]
    return numbers


def independent(numbers: np.ndarray) -> float:
    """How many independent pictures N clustered ones are worth: N^2 / sum of squared cluster sizes (Kish 1965).

    N if all differ, the number of clusters if these are of one size.
    """
    return float(len(numbers) ** 2 / np.square(np.bincount(numbers), dtype=np.float64).sum())


def alike_share(samples: Tensor, real: Tensor) -> float:
    """The share of samples whose nearest other sample is closer than half the usual distance between real pictures.

    samples: uint8 (n, C, H, W); real: as many pictures or fewer. Between real pictures the usual distance is the median
    of that to the nearest. The share is what exceeds that of the real pictures by the same bound: 0 for real pictures,
    1 for a model that draws one picture.
    """
    ours, theirs = (thumbs(each, contrast=False) for each in (samples, real))
    apart, real_apart = (nearest(each, each, 1, skip=np.arange(len(each)))[0][:, 0] for each in (ours, theirs))
    bound = np.median(real_apart) / 2
    share, chance = float((apart < bound).mean()), float((real_apart < bound).mean())
    return max(0.0, share - chance) / (1 - chance)
