"""Random numbers per picture, drawn on the pictures' device."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor


class Dice:
    """Random numbers (N, 1, 1, 1) and fields on `device`, a pure function of the seed of a generator on the CPU.

    On a CPU that generator is used, on another device a new one with the same seed, so that nothing is copied between
    devices.
    """

    def __init__(self, generator: torch.Generator, device: torch.device | str) -> None:
        self.host, self.device = generator, torch.device(device)
        self.own = generator
        if self.device.type != "cpu":
            self.own = torch.Generator(self.device).manual_seed(generator.initial_seed())

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.own, device=self.device)

    def uniform(self, n: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(n, 1, 1, 1), each in [low, high)."""
        return torch.empty((n, 1, 1, 1), device=self.device).uniform_(low, high, generator=self.own)

    def strata(self, n: int) -> Tensor:
        """(n, 1, 1, 1), the k-th in [k / n, (k + 1) / n): evenly spread over [0, 1)."""
        return (torch.arange(n, device=self.device).view(-1, 1, 1, 1) + self.uniform(n)) / max(1, n)

    def log_uniform(self, n: int, low: float, high: float) -> Tensor:
        """(n, 1, 1, 1) whose logarithm is uniform."""
        return self.uniform(n, math.log(low), math.log(high)).exp()

    def gauss(self, n: int) -> Tensor:
        return self.normal(n, 1, 1, 1)

    def coin(self, n: int, share: float) -> Tensor:
        """(n, 1, 1, 1) bool, true with probability `share`."""
        return self.uniform(n) < share

    def whole(self, most: int) -> int:
        """One integer of the CPU's generator in [0, most), the same for a whole batch."""
        return int(torch.randint(0, most, (), generator=self.host))

    def split(self, n: int, shares: list[float]) -> list[int]:
        """n divided by shares into counts; on average each count is its share of n, also for a small n."""
        offset, total = float(torch.rand((), generator=self.host)), sum(shares)
        bounds, passed = [0], 0.0
        for share in shares[:-1]:
            passed += share
            bounds.append(min(n, math.floor(n * passed / total + offset)))
        bounds.append(n)
        return [stop - start for start, stop in itertools.pairwise(bounds)]
