"""Text-to-image models: what is denoised are the latents of an autoencoder, the condition are prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sfumato.denoising.cleaner import Cleaner
from sfumato.diffusion.condition import Condition, tensors_of
from sfumato.diffusion.schedule import Discrete
from sfumato.errors import UserError
from sfumato.models.identity import Identity
from sfumato.models.model import Model
from sfumato.models.sd import prompts
from sfumato.models.sd.networks import TextNet
from sfumato.models.words import Unknown, Words, warning
from sfumato.show.grid import to_uint8

PIXELS = 512 * 512  # in the autoencoder at a time

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer


@dataclass(kw_only=True)
class LatentModel(Model):
    """A model whose net is a TextNet, with an autoencoder and a tokenizer.

    shape: (3, H, W) of its pictures; schedule: the one it was trained on; the autoencoder's `scaling_factor` brings its
    latents to variance 1; words: what its captions held, if that is known; identity: which base it is, if it was
    trained by sfumato.
    """

    net: TextNet
    schedule: Discrete
    autoencoder: AutoencoderKL
    tokenizer: CLIPTokenizer
    task: str = "text"
    words: Words | None = None
    identity: Identity | None = None

    @property
    def space(self) -> tuple[int, int, int]:
        _, height, width = self.shape
        return self.autoencoder.config.latent_channels, height // self.factor, width // self.factor

    @property
    def factor(self) -> int:
        """Pixels a latent, along a side."""
        return int(2 ** (len(self.autoencoder.config.block_out_channels) - 1))

    def sized(self, height: int, width: int) -> LatentModel:
        """The same model for pictures of another size. Raises UserError if the sides do not divide."""
        multiple = self.factor * 2 ** (len(self.net.unet.config.block_out_channels) - 1)
        for side in (height, width):
            if side < multiple or side % multiple:
                near = max(multiple, round(side / multiple) * multiple)
                raise UserError(f"{self.name} draws sides that are multiples of {multiple}: use {near} for {side}")
        return replace(self, shape=(3, height, width))

    def condition(self, texts: Sequence[str] | None, n: int) -> Condition:
        """Prompts as the text encoder's states (n, L, D), prompt k % len for row k; none at all: the empty prompt."""
        told = list(dict.fromkeys(texts or [""]))
        ids = prompts.tokens(self.tokenizer, told).to(self.device)
        states = self._encoded(ids)
        rows = [told.index((texts or [""])[k % len(texts or [""])]) for k in range(n)]
        return Condition.of(states=states[torch.tensor(rows, device=states.device)])

    @property
    def null(self) -> Condition:
        return self.condition(None, 1)

    @torch.inference_mode()
    def _encoded(self, ids: Tensor) -> Tensor:
        return self.net.states(ids).float()

    @torch.inference_mode()
    def enter(self, pictures: Tensor) -> Tensor:
        if tuple(pictures.shape[1:]) != tuple(self.shape):
            raise UserError(f"{self.name} draws pictures of {self.shape}, not {tuple(pictures.shape[1:])}")
        vae = self.autoencoder
        x = pictures.to(self.device).to(vae.dtype) / 127.5 - 1
        parts = [vae.encode(part).latent_dist.mean for part in x.split(self._at_once)]
        return torch.cat(parts).float() * vae.config.scaling_factor

    @torch.inference_mode()
    def leave(self, x: Tensor) -> Tensor:
        vae = self.autoencoder
        latents = (x / vae.config.scaling_factor).to(vae.dtype)
        return torch.cat([to_uint8(vae.decode(part).sample).cpu() for part in latents.split(self._at_once)])

    def cleaner(self) -> Cleaner:
        raise UserError(
            f"{self.name} draws pictures from prompts, and its autoencoder would repaint a photo: clean with `photo`"
        )

    @property
    def _at_once(self) -> int:
        """Pictures that the autoencoder takes at a time: one of 512 px holds a gigabyte."""
        return min(16, max(1, PIXELS // (self.shape[1] * self.shape[2])))

    def _frame(self, x: Tensor, level: Any) -> Tensor:
        """Latents at a level, brought to the spread of clean ones and decoded."""
        spread = float((level.alpha**2 + level.sigma**2).sqrt())
        return self.leave(x / spread)

    def network(self, x: Tensor, c: Tensor, cond: Condition | None) -> Tensor:
        """The network in the precision of its weights; of fp32 weights, as in training, in the model's."""
        if self.net.unet.dtype is torch.float32:
            return super().network(x, c, cond)
        found: Tensor = self.net(x, c, **tensors_of(cond))
        return found

    def warnings(self, texts: Sequence[str] | None, negative: str | None = None) -> list[str]:
        """What does not fit, a line a prompt, and one line on the words that no caption of the training held."""
        every = [*(texts or ()), *([negative] if negative else ())]
        unknown = None if self.words is None else warning(self.name, self.words, every)
        return [*self.cut(every), *([unknown] if unknown else ())]

    def unknown_words(self, prompt: str) -> list[Unknown]:
        """Words of a prompt that the base's captions did not hold, each with the nearest one that they did.

        None of a base that keeps no list of its words.
        """
        return [] if self.words is None else self.words.unknown(prompt)

    def cut(self, texts: Sequence[str] | None) -> list[str]:
        """One line for each prompt that is longer than the model reads."""
        most = self.tokenizer.model_max_length - 2
        return [
            f"{self.name} reads {most} tokens; left out of {text[:30]!r}...: {rest}"
            for text in dict.fromkeys(texts or ())
            if (rest := prompts.cut(self.tokenizer, text))
        ]
