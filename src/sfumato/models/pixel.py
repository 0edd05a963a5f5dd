"""Models whose networks work on pixels: all that `sfumato train` makes, except those of the task `text`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.denoising import levels
from sfumato.denoising.cleaner import Clipping
from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level
from sfumato.errors import UserError
from sfumato.models.model import Model
from sfumato.models.named import schedule_of
from sfumato.nets.net import PictureNet
from sfumato.pictures.pixels import from_uint8, to_uint8
from sfumato.pictures.vocabulary import CLIPPED, NOISE, PURE, Vocabulary
from sfumato.recipe.recipe import Recipe


@dataclass(kw_only=True)
class PixelModel(Model):
    """A model whose network works on pictures in [-1, 1].

    clipped: the share of its noisy training pictures that were clipped to [-1, 1], 0 to 1.
    """

    net: PictureNet
    clipped: float = 0.0

    @classmethod
    def of(
        cls, net: nn.Module, recipe: Recipe, vocabulary: Vocabulary, shape: tuple[int, int, int], **facts: Any
    ) -> PixelModel:
        """The model of a network that was trained with a recipe. facts: further fields, by name.

        Raises TypeError if the network is no PictureNet.
        """
        if not isinstance(net, PictureNet):
            raise TypeError(f"{type(net).__name__} is no PictureNet")
        noise = recipe.noise
        return cls(
            net=net, vocabulary=vocabulary, shape=shape, schedule=schedule_of(noise), prediction=noise.prediction,
            sigma_data=noise.sigma_data, defaults=recipe.sample, task=recipe.task, source=recipe.data.source,
            recipe=recipe, clipped=noise.clipped, **facts,
        )  # fmt: skip

    @property
    def space(self) -> tuple[int, int, int]:
        return self.shape

    def condition(self, texts: Sequence[str] | None, n: int) -> Condition | None:
        if not texts:
            return None
        if self.vocabulary.kind == "none":
            raise UserError(f"{self.name} was trained without labels or captions: leave --label and --prompt out")
        rows = [texts[k % len(texts)] for k in range(n)]
        return Condition.of(tokens=self.vocabulary.encode(rows).to(self.device))

    @property
    def null(self) -> Condition | None:
        if self.vocabulary.kind == "none":
            return None
        return Condition.of(tokens=torch.zeros(1, self.vocabulary.length, dtype=torch.int64, device=self.device))

    def enter(self, pictures: Tensor) -> Tensor:
        if tuple(pictures.shape[1:]) != tuple(self.shape):
            raise UserError(f"{self.name} draws pictures of {self.shape}, not {tuple(pictures.shape[1:])}")
        return from_uint8(pictures.to(self.device))

    def leave(self, x: Tensor) -> Tensor:
        return to_uint8(x).cpu()

    def cleaner(self) -> PixelCleaner:
        return PixelCleaner(self)

    def sized(self, height: int, width: int) -> PixelModel:
        if (height, width) != self.shape[1:]:
            raise UserError(f"{self.name} draws only pictures of {self.shape[1]} x {self.shape[2]}")
        return self


@dataclass(frozen=True)
class PixelCleaner:
    """A `denoising.cleaner.Cleaner` of a PixelModel."""

    model: PixelModel

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def device(self) -> str:
        return self.model.device

    @property
    def channels(self) -> int:
        return self.model.shape[0]

    @property
    def multiple(self) -> int:
        return self.model.net.multiple

    @property
    def reach(self) -> int | None:
        return self.model.net.reach

    @property
    def clipping(self) -> Clipping:
        if self.model.vocabulary == NOISE:
            return "condition"
        return "trained" if self.model.clipped else "untrained"

    @property
    def denoiser(self) -> Denoiser:
        return self.model.denoiser

    def condition(self, clipped: bool, n: int) -> Condition | None:
        return self.model.condition([CLIPPED if clipped else PURE], n) if self.clipping == "condition" else None

    @property
    def part(self) -> int | None:
        gauge = self.model.net.gauge
        return None if gauge is None else gauge.side

    def read_level(self, parts: Iterable[Tensor]) -> Level:
        gauge = self.model.net.gauge
        if gauge is None:
            raise UserError(f"{self.name} does not read the noise level from a picture: give it")
        return levels.read(gauge, parts)
