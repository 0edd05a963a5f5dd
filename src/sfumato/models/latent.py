"""Text-to-image models: they denoise the latents of an autoencoder, with prompts as the condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sfumato.denoising.cleaner import Cleaner
from sfumato.diffusion.condition import Condition, tensors_of
from sfumato.diffusion.level import Level
from sfumato.diffusion.schedule import Discrete
from sfumato.errors import UserError
from sfumato.models.family import Family, LatentNet, Size
from sfumato.models.identity import Identity
from sfumato.models.model import Model
from sfumato.models.words import Unknown, Words, warning
from sfumato.pictures.pixels import from_uint8, to_uint8

PIXELS = 512 * 512  # in the autoencoder at a time

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer


@dataclass(kw_only=True)
class LatentModel(Model):
    """A model whose network denoises the latents of an autoencoder, with prompts as the condition.

    Attributes:
        family: The methods of its family.
        shape: (3, H, W) of its pictures.
        schedule: The schedule with which it was trained.
        tokenizers: One for each text encoder.
        words: The words of its training captions; None if they are unknown.
        identity: The name and the version of the base; None if sfumato did not train it.
    """

    net: LatentNet
    family: Family
    schedule: Discrete
    autoencoder: AutoencoderKL
    tokenizers: tuple[CLIPTokenizer, ...]
    task: str = "text"
    words: Words | None = None
    identity: Identity | None = None

    @property
    def space(self) -> tuple[int, int, int]:
        _, height, width = self.shape
        return self.autoencoder.config.latent_channels, height // self.factor, width // self.factor

    @property
    def factor(self) -> int:
        """The side in pixels of the square that one position of a latent stands for."""
        return int(2 ** (len(self.autoencoder.config.block_out_channels) - 1))

    def sized(self, height: int, width: int) -> LatentModel:
        """The same model for pictures of another size, in pixels. Raises UserError if a side is no valid multiple."""
        multiple = self.family.multiple(self)
        for side in (height, width):
            if side < multiple or side % multiple:
                near = max(multiple, round(side / multiple) * multiple)
                raise UserError(f"{self.name} draws sides that are multiples of {multiple}: use {near} for {side}")
        return replace(self, shape=(3, height, width))

    def condition(self, texts: Sequence[str] | None, n: int) -> Condition:
        """Prompt embeddings: n rows, row k is of texts[k % len(texts)]; without texts, of the empty prompt."""
        given = list(texts or [""])
        once = list(dict.fromkeys(given))
        rows = [once.index(given[k % len(given)]) for k in range(n)]
        return self.family.encode(self, once)[torch.tensor(rows)]

    @property
    def null(self) -> Condition:
        return self.family.null(self)

    def tokens(self, texts: Sequence[str], sizes: Sequence[Size] | None = None) -> Condition:
        """Prompts as the text encoders' input, with which the network calls the text encoders, to train them.

        sizes: those of the pictures before they were scaled, see `Family.tokens`.
        """
        return self.family.tokens(self, texts, sizes)

    def nothing(self) -> Condition:
        """The empty prompt as the text encoders' input, one row, on the CPU."""
        return self.family.nothing(self)

    def token_ids(self, text: str) -> list[int]:
        """The token ids of a text; frequent tokens have low ids."""
        return self.family.token_ids(self, text)

    @torch.inference_mode()
    def enter(self, pictures: Tensor) -> Tensor:
        if tuple(pictures.shape[1:]) != tuple(self.shape):
            raise UserError(f"{self.name} draws pictures of {self.shape}, not {tuple(pictures.shape[1:])}")
        vae = self.autoencoder
        x = from_uint8(pictures.to(self.device), vae.dtype)
        return torch.cat([self.family.latents(vae, part) for part in x.split(self._at_once)])

    @torch.inference_mode()
    def leave(self, x: Tensor) -> Tensor:
        pictures = (self.family.pictures(self.autoencoder, part) for part in x.split(self._at_once))
        return torch.cat([to_uint8(part).cpu() for part in pictures])

    def cleaner(self) -> Cleaner:
        raise UserError(
            f"{self.name} draws pictures from prompts, and its autoencoder would repaint a photo: clean with `photo`"
        )

    @property
    def _at_once(self) -> int:
        """How many pictures the autoencoder processes at once; a picture of 512 px needs a gigabyte."""
        return min(16, max(1, PIXELS // (self.shape[1] * self.shape[2])))

    def _frame(self, x: Tensor, level: Level) -> Tensor:
        """Noisy latents, scaled to the standard deviation of clean ones and decoded."""
        spread = float((level.alpha**2 + level.sigma**2).sqrt())
        return self.leave(x / spread)

    def network(self, x: Tensor, c: Tensor, cond: Condition | None) -> Tensor:
        """F(x, c, cond) in its weights' precision; with fp32 weights, as in training, in the model's precision."""
        if self.net.dtype is torch.float32:
            return super().network(x, c, cond)
        found: Tensor = self.net(x, c, **tensors_of(cond))
        return found

    def warnings(self, texts: Sequence[str] | None, negative: str | None = None) -> list[str]:
        """One line for each prompt that is too long, and one line on the words that were in no training caption."""
        every = [*(texts or ()), *([negative] if negative else ())]
        unknown = None if self.words is None else warning(self.name, self.words, every)
        return [*self.cut(every), *([unknown] if unknown else ())]

    def unknown_words(self, prompt: str) -> list[Unknown]:
        """The words of a prompt that were in no training caption, each with the nearest known word.

        Empty if the base has no list of its words.
        """
        return [] if self.words is None else self.words.unknown(prompt)

    def cut(self, texts: Sequence[str] | None) -> list[str]:
        """One line for each prompt that is longer than the model's limit."""
        most = self.vocabulary.length - 2  # start and end
        return [
            f"{self.name} reads {most} tokens; left out of {text[:30]!r}...: {rest}"
            for text in dict.fromkeys(texts or ())
            if (rest := self.family.cut(self, text))
        ]


def latent_of(model: Model, why: str = "a LoRA cannot change it") -> LatentModel:
    """A model as a text-to-image model. Raises UserError if it is another kind; why: the reason given in the error."""
    if not isinstance(model, LatentModel):
        raise UserError(f"{model.name} is not a text-to-image model: {why}")
    return model
