"""What is done to a batch of pictures before it is learned from."""

from __future__ import annotations

import torch
from torch import Tensor


def patches(x: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A random square of each picture, (N, C, H, W) -> (N, C, side, side)."""
    room = x.shape[2] - side + 1, x.shape[3] - side + 1
    starts = [torch.randint(0, most, (len(x),), generator=generator).tolist() for most in room]
    cut = [p[:, top : top + side, left : left + side] for p, top, left in zip(x, *starts, strict=True)]
    return torch.stack(cut).contiguous(memory_format=torch.channels_last)


def greyed(x0: Tensor, noise: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Those of the pictures that `which` (N,) names as grey ones, with the noise of one colour in all."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=x0.device).view(1, -1, 1, 1)
    if x0.shape[1] != 3:
        return x0, noise
    which = which.view(-1, 1, 1, 1)
    luma = (x0 * weights).sum(1, keepdim=True)
    return torch.where(which, luma, x0), torch.where(which, noise[:, :1], noise)


def recoloured(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A share of the pictures, (N, 3, H, W) in [-1, 1], with the channels in another order and perhaps inverted."""
    count = len(x)
    orders = torch.rand(count, 3, generator=generator).argsort(1)
    plain = torch.rand(count, generator=generator) >= share
    orders[plain] = torch.arange(3)
    sign = 1 - 2 * (torch.rand(count, 3, generator=generator) < 0.25).float()
    sign[plain] = 1
    rows = torch.arange(count, device=x.device)[:, None]
    return x[rows, orders.to(x.device)] * sign.to(x.device)[:, :, None, None]


def mirrored(x: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures with left and right exchanged."""
    which = torch.rand(len(x), generator=generator).to(x.device) < 0.5
    return torch.where(which.view(-1, 1, 1, 1), x.flip(3), x)


def turned(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture in one of its eight rotations and reflections; not square: of its four reflections."""
    which = torch.randint(0, 8, (len(x),), generator=generator)
    square = x.shape[2] == x.shape[3]
    out = torch.empty_like(x)
    for k in range(8):
        rows = (which == k).nonzero()[:, 0].to(x.device)
        part = x[rows]
        part = part.flip(3) if k & 1 else part
        part = part.flip(2) if k & 2 else part
        out[rows] = part.transpose(2, 3) if square and k & 4 else part
    return out
