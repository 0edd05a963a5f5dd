"""LoRAs independent of their file format: changes of single weights, and how they are merged into a model."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from sfumato.errors import UserError
from sfumato.lora.changes import Change, along_rows
from sfumato.lora.named import Strength, both, check_finite
from sfumato.models.family import LatentNet, Part

Layer: TypeAlias = nn.Linear | nn.Conv2d | nn.LayerNorm | nn.GroupNorm
"""A layer that a file can change."""


@dataclass(frozen=True)
class Lora:
    """Changes of weights, and biases' changes, (out,), by part of the network and module name.

    facts: metadata of the file; left_out: names of what a file has beside changes of weights, as textual inversions.
    """

    parts: Mapping[Part, dict[str, Change]] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    biases: Mapping[Part, dict[str, Tensor]] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    def part(self, name: str) -> dict[str, Change]:
        return next((pieces for part, pieces in self.parts.items() if part.name == name), {})

    def pieces(self) -> Iterator[tuple[str, Change]]:
        for part, pieces in self.parts.items():
            for path, piece in pieces.items():
                yield f"{part.name}.{path}", piece

    def shifts(self) -> Iterator[tuple[str, Tensor]]:
        """The changes of biases."""
        for part, biases in self.biases.items():
            for path, bias in biases.items():
                yield f"{part.name}.{path}", bias

    def verify(self, where: str) -> None:
        """Raises UserError if it is empty, or a number in it is not finite."""
        if not any(self.parts.values()) and not any(self.biases.values()):
            raise UserError(f"{where} has no LoRA for a U-Net or a text encoder")
        for path, piece in self.pieces():
            if not math.isfinite(piece.scale) or not all(bool(t.isfinite().all()) for t in piece.tensors().values()):
                raise UserError(f"{where} is damaged: {path} is not finite")
        for path, bias in self.shifts():
            if not bool(bias.isfinite().all()):
                raise UserError(f"{where} is damaged: the bias of {path} is not finite")


def modules(net: LatentNet, part: Part) -> dict[str, nn.Linear | nn.Conv2d]:
    """Linear layers and convolutions of a part by plain name."""
    return {name: each for name, each in changeable(net, part).items() if isinstance(each, (nn.Linear, nn.Conv2d))}


def changeable(net: LatentNet, part: Part) -> dict[str, Layer]:
    """Linear layers, convolutions and normalisations of a part by plain name."""
    named = net.module(part).named_modules()
    kinds = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm)
    return {part.plain(name): module for name, module in named if isinstance(module, kinds)}


def fit(net: LatentNet, lora: Lora, where: str) -> None:
    """Raises UserError if a LoRA does not fit a network."""
    for each in net.parts:
        known, part = changeable(net, each), each.name
        shifts = lora.biases.get(each, {})
        for path in [*lora.part(part), *shifts]:
            if path not in known:
                raise UserError(f"{where} changes {part}.{path}, which this base lacks: it is for another base")
        for path, piece in lora.part(part).items():
            shape = tuple(known[path].weight.shape)
            if not piece.fits(shape):
                raise UserError(f"{where} is for another base: {part}.{path} is {shape} here and {piece.shape} there")
            if piece.magnitude is not None and along_rows(piece.magnitude, shape) is None:
                raise UserError(
                    f"{where}: the magnitudes of {part}.{path} are neither one a row nor one a column: "
                    "they cannot be applied"
                )
        for path, shift in shifts.items():
            bias = known[path].bias
            if bias is None or bias.shape != shift.shape:
                here = "no bias" if bias is None else f"a bias of {tuple(bias.shape)}"
                raise UserError(f"{where} is for another base: {part}.{path} has {here} here")


@torch.no_grad()
def merge(net: LatentNet, lora: Lora, strength: Strength, where: str) -> int:
    """Add a LoRA to the weights of a network; returns the number of changed weights and biases.

    Raises UserError, before anything is changed, if the LoRA belongs to another base, a strength is not finite, or
    a changed weight is beyond the range of the network's precision.
    """
    for number in both(strength):
        check_finite(number, where)
    fit(net, lora, where)
    made: list[tuple[Layer, str, Tensor]] = []

    def change(layer: Layer, name: str, old: Tensor, delta: Tensor, path: str) -> None:
        new = (old.float() + weight * delta).to(old.dtype)
        if not bool(new.isfinite().all()):
            raise UserError(
                f"{where} makes {path} infinite or undefined at a strength of {weight:g}: take a smaller one, or fp32"
            )
        made.append((layer, name, new))

    for each in net.parts:
        known, weight = changeable(net, each), both(strength)[each.text]
        for path, piece in lora.part(each.name).items():
            old = known[path].weight
            change(known[path], "weight", old, piece.delta(old), f"{each.name}.{path}")
        for path, shift in lora.biases.get(each, {}).items():
            bias = cast(Tensor, known[path].bias)
            change(known[path], "bias", bias, shift.to(bias.device).float(), f"the bias of {each.name}.{path}")
    for module, name, new in made:
        setattr(module, name, nn.Parameter(new, getattr(module, name).requires_grad))
    return len(made)


def sharing(net: LatentNet) -> LatentNet:
    """A network of its own with the same tensors, to which a LoRA can be added without changing the first one."""
    return copy.deepcopy(net, {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())})
