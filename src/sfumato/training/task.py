"""The interface of a task, and the generator of each step."""

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
PIECE = 64  # held-out pictures in one forward pass


@dataclass(frozen=True)
class Band:
    """Mean validation loss of the levels with sigma / alpha in [low, high)."""

    low: float
    high: float
    loss: float


@dataclass(frozen=True)
class HeldOut:
    """The validation loss, which decides which checkpoint is the best, by bands, and further figures."""

    loss: float
    bands: list[Band] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


def bands(ratio: Tensor, losses: Tensor, count: int = 4) -> list[Band]:
    """Mean losses by noise, in `count` bands of equally many pictures. ratio, losses: (N,)."""
    parts = [part for part in ratio.argsort().tensor_split(count) if len(part)]
    return [Band(float(ratio[part[0]]), float(ratio[part[-1]]), float(losses[part].mean())) for part in parts]


def pieces(batch: Batch, most: int = PIECE) -> Iterator[Batch]:
    """The rows of a batch in order, at most `most` at a time, for the validation loss."""
    for first in range(0, len(next(iter(batch.values()))), most):
        yield {key: value[first : first + most] for key, value in batch.items()}


class Task(Protocol):
    """What is learned: batches, loss, validation, previews. Steps, splitting, EMA and files belong to the loop."""

    net: nn.Module

    def draw(self, images: int, batch: int, generator: torch.Generator) -> Batch:
        """The whole global batch of a step, a pure function of the arguments: tensors (batch, ...)."""

    def loss(self, net: nn.Module, part: Batch) -> Tensor:
        """The loss of each picture of a slice of the batch, (n,). `net` is self.net, perhaps wrapped."""

    def held_out(self, net: nn.Module) -> HeldOut:
        """The validation loss of `net`, on the same held-out pictures with the same noise each time."""

    def preview(self, net: nn.Module) -> Image.Image | None:
        """A preview of `net`, from the same seeds each time; None if there is none."""

    def describe(self) -> Json:
        """Facts that a checkpoint needs beside the recipe to be usable by itself (JSON)."""


def generator_for(seed: int, images: int) -> torch.Generator:
    """The generator of the step that starts at `images` images seen."""
    digest = hashlib.blake2b(f"{seed}:{images}".encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest))
