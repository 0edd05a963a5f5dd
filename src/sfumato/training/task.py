"""What the loop asks of a task, and the randomness it gives it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from sfumato.files import Json

Batch = dict[str, Tensor]
PIECE = 64  # held-out pictures that a network is shown at once


@dataclass(frozen=True)
class Band:
    """Mean held-out loss of the levels with sigma / alpha in [low, high)."""

    low: float
    high: float
    loss: float


@dataclass(frozen=True)
class HeldOut:
    """How well pictures that were not trained on are done; `loss` decides which checkpoint is the best."""

    loss: float
    bands: list[Band] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


def bands(ratio: Tensor, losses: Tensor, count: int = 4) -> list[Band]:
    """Mean losses by noise, in `count` bands of equally many pictures. ratio, losses: (N,)."""
    parts = [part for part in ratio.argsort().tensor_split(count) if len(part)]
    return [Band(float(ratio[part[0]]), float(ratio[part[-1]]), float(losses[part].mean())) for part in parts]


def pieces(batch: Batch, most: int = PIECE) -> Iterator[Batch]:
    """The rows of a batch in their order, at most so many at a time: what is held out is judged piece by piece."""
    for first in range(0, len(next(iter(batch.values()))), most):
        yield {key: value[first : first + most] for key, value in batch.items()}


class Task(Protocol):
    """Something to learn. The loop owns steps, splitting, EMA and files; a task owns what they mean."""

    net: nn.Module

    def draw(self, images: int, batch: int, generator: torch.Generator) -> Batch:
        """All a step needs, for the whole global batch, as a pure function of its arguments: tensors (batch, ...)."""

    def loss(self, net: nn.Module, part: Batch) -> Tensor:
        """The loss of each picture of a slice of the batch, (n,). `net` is self.net, perhaps wrapped."""

    def held_out(self, net: nn.Module) -> HeldOut:
        """Judge `net` on pictures kept out of training, the same ones with the same noise each time."""

    def preview(self, net: nn.Module) -> Image.Image | None:
        """A picture of what `net` can do, the same seeds each time."""

    def describe(self) -> Json:
        """What a checkpoint must hold beside the recipe to be used alone (JSON)."""


def generator_for(seed: int, images: int) -> torch.Generator:
    """The generator of the step that starts at `images` images seen."""
    digest = hashlib.blake2b(f"{seed}:{images}".encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest))
