"""LoRAs independent of their file format: changes of single weights, and how they are merged into a model."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sfumato.errors import UserError
from sfumato.models.family import LatentNet, Part


@dataclass(frozen=True)
class Piece:
    """The change of one weight W (out, in, ...): scale * up @ down.

    down: (rank, in, ...); up: (out, rank) or (out, rank, 1, 1); scale: alpha / rank, or alpha / sqrt(rank) if
    rank-stabilised (Kalajdzievski 2023); magnitude: (out,) of DoRA (Liu et al. 2024, eq. 5), the norms that the rows of
    the changed weight get, or None.
    """

    down: Tensor
    up: Tensor
    scale: float
    magnitude: Tensor | None = None

    @property
    def rank(self) -> int:
        return len(self.down)

    def delta(self, weight: Tensor) -> Tensor:
        """The change of the weight, in its shape, float32."""
        down, up = (each.to(weight.device).float().flatten(1) for each in (self.down, self.up))
        change = (self.scale * (up @ down)).reshape(weight.shape)
        if self.magnitude is None:
            return change
        whole = weight.float() + change
        norm = whole.flatten(1).norm(dim=1)
        rows = (self.magnitude.to(weight.device).float().flatten() / norm).reshape(-1, *[1] * (weight.ndim - 1))
        return whole * rows - weight.float()


@dataclass(frozen=True)
class Lora:
    """Pieces by part of the network and module name; facts: metadata of the file."""

    parts: Mapping[Part, dict[str, Piece]] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)

    def part(self, name: str) -> dict[str, Piece]:
        return next((pieces for part, pieces in self.parts.items() if part.name == name), {})

    def pieces(self) -> Iterator[tuple[str, Piece]]:
        for part, pieces in self.parts.items():
            for path, piece in pieces.items():
                yield f"{part.name}.{path}", piece

    def verify(self, where: str) -> None:
        """Raises UserError if it is empty, or a number in it is not finite."""
        if not any(self.parts.values()):
            raise UserError(f"{where} has no LoRA for a U-Net or a text encoder")
        for path, piece in self.pieces():
            tensors = [piece.down, piece.up, *([] if piece.magnitude is None else [piece.magnitude])]
            if not math.isfinite(piece.scale) or not all(bool(t.isfinite().all()) for t in tensors):
                raise UserError(f"{where} is damaged: {path} is not finite")


def modules(net: LatentNet, part: Part) -> dict[str, nn.Linear | nn.Conv2d]:
    """Linear layers and convolutions of a part by plain name."""
    named = net.module(part).named_modules()
    return {part.plain(name): module for name, module in named if isinstance(module, (nn.Linear, nn.Conv2d))}


@torch.no_grad()
def merge(net: LatentNet, lora: Lora, weight: float, where: str) -> int:
    """Add a LoRA to the weights of a network; returns the number of changed weights.

    Raises UserError, before anything is changed, if the LoRA belongs to another base.
    """
    found: list[tuple[nn.Linear | nn.Conv2d, Piece]] = []
    for each in net.parts:
        known, part = modules(net, each), each.name
        for path, piece in lora.part(part).items():
            if path not in known:
                raise UserError(f"{where} changes {part}.{path}, which this base lacks: it is for another base")
            shape = tuple(known[path].weight.shape)
            expected = (piece.up.shape[0], piece.down.shape[1], *piece.down.shape[2:])
            if piece.down.ndim == 2:
                expected = (*expected, *[1] * (len(shape) - 2))
            if shape != expected:
                raise UserError(f"{where} is for another base: {part}.{path} is {shape} here and {expected} there")
            if piece.magnitude is not None and piece.magnitude.numel() != shape[0]:
                raise UserError(f"{where}: the magnitudes of {part}.{path} are not one a row: they cannot be applied")
            found.append((known[path], piece))
    for module, piece in found:
        old = module.weight
        changed = (old.float() + weight * piece.delta(old)).to(old.dtype)
        module.weight = nn.Parameter(changed, old.requires_grad)
    return len(found)


def sharing(net: LatentNet) -> LatentNet:
    """A network of its own with the same tensors, to which a LoRA can be added without changing the first one."""
    return copy.deepcopy(net, {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())})
