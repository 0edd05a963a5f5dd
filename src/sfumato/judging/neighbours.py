"""Nearest neighbours by brute force, in blocks of bounded memory."""

from __future__ import annotations

import numpy as np
import torch

BLOCK = 1 << 24  # distances in memory at a time


def nearest(
    queries: np.ndarray, references: np.ndarray, k: int = 1, skip: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest references of each query: Euclidean distances, ascending, and their indices, both (n, k).

    queries: (n, d); references: (m, d); skip: for each query the index (n,) of a reference that does not
    count, such as itself. The search uses norms and products in float64; the distances of the neighbours are then
    computed from differences, so that a copy has distance 0 exactly. Raises ValueError if there are fewer
    than k candidates.
    """
    if k > len(references) - (skip is not None):
        raise ValueError(f"{k} neighbours need more than {len(references)} references")
    centre = references.mean(0, dtype=np.float64)  # small norms lose fewer digits
    y = torch.from_numpy(references - centre)
    y_norm = y.square().sum(1)
    step = max(1, BLOCK // max(len(references), k * y.shape[1]))
    distances, indices = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries), step):
        rows = slice(start, min(start + step, len(queries)))
        x = torch.from_numpy(queries[rows] - centre)
        squared = torch.addmm(y_norm[None, :] + x.square().sum(1)[:, None], x, y.T, alpha=-2)
        if skip is not None:
            squared[torch.arange(len(x)), torch.from_numpy(skip[rows])] = torch.inf
        found = squared.topk(k, largest=False).indices
        exact = (x[:, None, :] - y[found]).square().sum(2).sqrt()
        exact, order = exact.sort(dim=1, stable=True)
        distances[rows], indices[rows] = exact.numpy(), found.gather(1, order).numpy()
    return distances, indices


def within_any(queries: np.ndarray, references: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Whether each query (n, d) lies in the ball of at least one reference (m, d) with its radius (m,); (n,)
    bool.
    """
    centre = references.mean(0, dtype=np.float64)
    y = torch.from_numpy(references - centre)
    y_norm, limit = y.square().sum(1), torch.from_numpy(radii).double().square()
    step = max(1, BLOCK // len(references))
    inside = np.empty(len(queries), dtype=bool)
    for start in range(0, len(queries), step):
        rows = slice(start, min(start + step, len(queries)))
        x = torch.from_numpy(queries[rows] - centre)
        squared = torch.addmm(y_norm[None, :] + x.square().sum(1)[:, None], x, y.T, alpha=-2)
        inside[rows] = (squared <= limit).any(1).numpy()
    return inside
