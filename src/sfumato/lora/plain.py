"""DoRA and other kinds of changes as a plain LoRA, which every program reads alike."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from sfumato.lora.changes import SMALLEST, Change, Piece
from sfumato.lora.lora import Lora, changeable
from sfumato.models.family import LatentNet

WITHIN = 1e-3  # largest error of a change, relative to it


@torch.no_grad()
def plain(lora: Lora, net: LatentNet, within: float = WITHIN) -> Lora:
    """The same changes as LoRAs without magnitudes; each has the least rank with which it is within `within`.

    net: the base without the LoRA, whose weights' norms DoRA replaces. Plain LoRAs stay as they are. DoRA multiplies
    every row of a weight, so the ranks are high, and a file is nearly as large as the weights that are changed.
    """
    parts = {
        part: {name: _plain(change, changeable(net, part)[name].weight, within) for name, change in changes.items()}
        for part, changes in lora.parts.items()
    }
    return replace(lora, parts=parts)


def _plain(change: Change, weight: Tensor, within: float) -> Change:
    simple = isinstance(change, Piece) and change.mid is None and change.magnitude is None
    return change if simple or weight.ndim < 2 else factored(change.delta(weight), within)


def factored(delta: Tensor, within: float = WITHIN) -> Piece:
    """A change (out, in, ...) as a product of the least rank whose error is at most `within` of it, by Frobenius's norm
    (Eckart and Young 1936). Its alpha is 1 at any rank: diffusers reads files with several alphas wrongly. The largest
    entries of both matrices are the same, so that fp16 holds them.
    """
    device = "cpu" if delta.device.type == "mps" else delta.device  # which has no float64
    matrix = delta.to(device).double().flatten(1)
    wide = len(matrix) <= matrix.shape[1]
    squares, vectors = torch.linalg.eigh(matrix @ matrix.T if wide else matrix.T @ matrix)  # ascending
    dropped = int((squares.clamp_min(0).cumsum(0) <= within**2 * squares.sum()).sum())
    vectors = vectors[:, min(dropped, len(squares) - 1) :]
    up, down = (vectors, vectors.T @ matrix) if wide else (matrix @ vectors, vectors.T)
    rank = vectors.shape[1]
    size = math.sqrt(
        rank * float((up.abs().max() * down.abs().max()).clamp_min(SMALLEST))
    )  # the largest entry of either
    up, down = (each * (size / each.abs().max().clamp_min(SMALLEST)) for each in (up, down))
    tail = delta.shape[2:]
    return Piece(
        down.float().unflatten(1, delta.shape[1:]).cpu(), up.float().reshape(*up.shape, *[1] * len(tail)).cpu(),
        scale=1 / rank,
    )  # fmt: skip
