"""Exponential moving averages of the weights whose length grows with the training."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


@functools.cache
def exponent(width: float) -> float:
    """The exponent gamma of an average with relative width `width` (Karras et al. 2024, eq. 123 and algorithm 2).

    The weights of the average follow t^gamma, with a standard deviation of `width` times the training so far: the
    positive root of gamma^3 + 7 gamma^2 + (16 - width^-2) gamma + (12 - width^-2) = 0.
    """
    roots = np.roots([1, 7, 16 - width**-2, 12 - width**-2])
    return float(roots.real.max())


class PowerEMA:
    """One averaged copy of a network for each relative width; the first is the one that is sampled.

    Averages every floating-point tensor of the state, buffers too. It depends on images seen only, so a change of
    batch size or length needs no retuning.
    """

    def __init__(self, net: nn.Module, widths: Sequence[float]) -> None:
        self.nets = {width: copy.deepcopy(net).requires_grad_(False).eval() for width in widths}
        self._source = _tensors(net)
        self._targets = {width: _tensors(average) for width, average in self.nets.items()}

    @property
    def first(self) -> nn.Module:
        return next(iter(self.nets.values()))

    @torch.no_grad()
    def update(self, seen: int, batch: int) -> None:
        """Update with the network after `seen` images, of which `batch` came since the last update."""
        for targets, share in zip(self._targets.values(), self.shares(seen, batch), strict=True):
            torch._foreach_lerp_(targets, self._source, share)

    def shares(self, seen: int, batch: int) -> list[float]:
        """The weight of the network in the update of each average."""
        return [1 - (1 - batch / seen) ** (exponent(width) + 1) for width in self.nets]

    @torch.no_grad()
    def approach(self, shares: Tensor) -> None:
        """Update with weights (averages,) on the device, which a recorded step can do."""
        for targets, share in zip(self._targets.values(), shares.unbind(), strict=True):
            ways = torch._foreach_sub(self._source, targets)
            torch._foreach_mul_(ways, share)
            torch._foreach_add_(targets, ways)


def _tensors(net: nn.Module) -> list[Tensor]:
    return [t for t in net.state_dict().values() if t.is_floating_point()]
