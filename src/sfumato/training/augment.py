"""Augmentation of batches of pictures, without a loop over pictures."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from sfumato.noises.dice import Dice

ORDERS = tuple(itertools.permutations(range(3)))


def patches(x: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A random square of each picture, (N, C, H, W) -> (N, C, side, side)."""
    room = x.shape[2] - side + 1, x.shape[3] - side + 1
    starts = (torch.randint(0, most, (len(x),), generator=generator).view(-1, 1, 1) for most in room)
    top, left = (start.to(x.device, non_blocking=True) for start in starts)
    steps = torch.arange(side, device=x.device)
    return _gathered(x, top + steps[:, None], left + steps)


def turned(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture in one of its eight rotations and reflections; not square: of its four reflections."""
    which = torch.randint(0, 8, (len(x),), generator=generator).view(-1, 1, 1).to(x.device, non_blocking=True)
    height, width = x.shape[2:]
    row, column = (torch.arange(side, device=x.device) for side in (height, width))
    row, column = row[None, :, None], column[None, None]
    if height == width:
        across = which & 4 > 0
        row, column = torch.where(across, column, row), torch.where(across, row, column)
    row = torch.where(which & 2 > 0, height - 1 - row, row)
    column = torch.where(which & 1 > 0, width - 1 - column, column)
    return _gathered(x, row, column)


def _gathered(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """x[n, :, row, column], (N, C, ...) channels last; rows and columns broadcast to (N, h, w)."""
    first = x.shape[2] * x.shape[3] * torch.arange(len(x), device=x.device).view(-1, 1, 1)
    flat = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return flat[first + row * x.shape[3] + column].permute(0, 3, 1, 2)


def greyed(x0: Tensor, noise: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures and noise, made grey where `which` (N,) is true."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=x0.device).view(1, -1, 1, 1)
    if x0.shape[1] != 3:
        return x0, noise
    which = which.view(-1, 1, 1, 1)
    luma = (x0 * weights).sum(1, keepdim=True)
    return torch.where(which, luma, x0), torch.where(which, noise[:, :1], noise)


def recoloured(x: Tensor, dice: Dice, share: float = 0.5) -> Tensor:
    """`share` of the pictures (N, 3, H, W) with colours exchanged, contrast and balance changed, or as a negative."""
    n = len(x)
    orders = torch.tensor(ORDERS, device=x.device)
    which = (len(ORDERS) * dice.uniform(n)).long().clamp_max(len(ORDERS) - 1).flatten()
    other = x.gather(1, orders[which].view(-1, 3, 1, 1).expand_as(x))
    other = torch.where(dice.coin(n, 0.15), -other, other)
    gain = dice.uniform(n, 0.5, 1.1) * (1 + 0.15 * torch.cat([dice.uniform(n, -1, 1) for _ in range(3)], 1))
    room = (1 - gain).clamp_min(0.05)
    other = gain * other + room * torch.cat([dice.uniform(n, -1, 1) for _ in range(3)], 1)
    return torch.where(dice.coin(n, share), other.clamp(-1, 1), x)


def mirrored(x: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures with left and right exchanged."""
    which = torch.rand(len(x), generator=generator).to(x.device) < 0.5
    return torch.where(which.view(-1, 1, 1, 1), x.flip(3), x)
