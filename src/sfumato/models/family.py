"""The interface of a family of text-to-image models: the rest of the program works with any family that implements it.

A family is one folder; `sd/` is Stable Diffusion 1 and 2. It contains a LatentNet (its networks as one module), a
Family (its methods), a module that reads its models, and has one line in `registry.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from sfumato.diffusion.condition import Condition
from sfumato.errors import UserError
from sfumato.files import Facts

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DiffusionPipeline

    from sfumato.models.latent import LatentModel

Size = tuple[int, int]
"""(H, W) of a picture in pixels."""
Extent = Literal["whole", "places"]
"""Features of the whole picture, or of each place in it."""


@dataclass(frozen=True)
class Part:
    """A network that a LoRA can change.

    name: of the module in the LatentNet and in a Lora; text: it is a text encoder, which is trained only on request;
    attention, feed_forward: endings of the names of the layers that a LoRA changes; reads, writes: prefixes of the keys
    in kohya's files; folder: subfolder of PEFT's files in the LoRA's folder; diffusers: prefix of the keys in
    diffusers' files; inner: prefix of module names that only some versions of transformers have; outer: prefix that
    plain names do not have, but the keys of PEFT's and diffusers' files do.
    """

    name: str
    attention: tuple[str, ...]
    feed_forward: tuple[str, ...] = ()
    text: bool = False
    reads: tuple[str, ...] = ()
    writes: str = ""
    folder: str = ""
    diffusers: str = ""
    inner: str = ""
    outer: str = ""

    def plain(self, name: str) -> str:
        """A module's name, the same in every version of transformers and without PEFT's wrapping."""
        return name.removeprefix(self.inner).removeprefix(self.outer).replace(".base_layer", "")

    def key(self, name: str) -> str:
        """The key of a module in kohya's files. name: its plain name."""
        return self.writes + name.replace(".", "_")

    def keys(self, names: Iterable[str]) -> dict[str, str]:
        """Plain names of modules by the part of a file's key that follows a prefix of `reads`."""
        flat = {name.replace(".", "_"): name for name in names}
        before = {each.replace(".", "_") for each in (self.inner, self.outer)}
        return flat | {prefix + key: name for prefix in before for key, name in flat.items()}


class LatentNet(nn.Module, ABC):
    """F(x, c, **condition) of a text-to-image model: all its networks but the autoencoder.

    x: latents (N, C, h, w) of variance about 1; c: ln(sigma / alpha) / 4 of each, (N,). The condition is the result of
    `embedded`; where the text encoders are trained too, the result of `Family.tokens`.
    """

    parts: ClassVar[tuple[Part, ...]]

    def module(self, part: Part) -> nn.Module:
        return self.get_submodule(part.name)

    def encoders(self) -> list[nn.Module]:
        """The text encoders."""
        return [self.module(part) for part in self.parts if part.text]

    def denoisers(self) -> list[nn.Module]:
        """All networks except the text encoders."""
        return [self.module(part) for part in self.parts if not part.text]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the denoising network's weights."""
        return next(self.denoisers()[0].parameters()).dtype

    @abstractmethod
    def embedded(self, tokens: Condition) -> Condition:
        """The text encoders' output for tokens, float32, with gradients if they are enabled."""

    @abstractmethod
    def layer(self, of: Extent) -> nn.Module:
        """The layer whose output, (N, D, h, w), serves as features: of the whole picture, or of each place in it."""

    @abstractmethod
    def save_memory(self) -> None:
        """Turn on activation checkpointing: less memory in training, more computation (Chen et al. 2016)."""


class Family(ABC):
    """The methods of one family. Stateless: the networks and tokenizers are the model's."""

    name: ClassVar[str]
    pipelines: ClassVar[str]
    """The class of diffusers that loads what `write` writes."""

    @abstractmethod
    def tokens(self, model: LatentModel, prompts: Sequence[str], sizes: Sequence[Size] | None = None) -> Condition:
        """Prompts as the text encoders' input, a row for each prompt, on the CPU. Raises UserError on a too long one.

        sizes: (H, W) of the picture of each row before it was scaled to the model's size, in pixels; left out: the
        model's own size. A family without sizes in its condition ignores them.
        """

    def nothing(self, model: LatentModel) -> Condition:
        """The text encoders' input of the empty prompt, one row, on the CPU."""
        return self.tokens(model, [""])

    @abstractmethod
    def encode(self, model: LatentModel, prompts: Sequence[str]) -> Condition:
        """Prompt embeddings, the denoising network's input: float32, a row for each prompt, on the model's device."""

    def null(self, model: LatentModel) -> Condition:
        """The empty condition, one row."""
        with torch.inference_mode():
            return model.net.embedded(self.nothing(model).to(model.device))

    @abstractmethod
    def cut(self, model: LatentModel, prompt: str) -> str:
        """The end of a prompt that is beyond the model's length, "" if nothing is."""

    @abstractmethod
    def token_ids(self, model: LatentModel, text: str) -> list[int]:
        """The token ids of a text, without start and end; frequent tokens have low ids."""

    @abstractmethod
    def vocabulary(self, model: LatentModel) -> list[str]:
        """All tokens in the order of their ids; a token at the end of a word ends in `</w>`."""

    @abstractmethod
    def multiple(self, model: LatentModel) -> int:
        """The number of pixels of which a picture's sides must be multiples."""

    @abstractmethod
    def foreign(self, tensors: Mapping[str, Tensor], header: Facts) -> str | None:
        """The reason why a LoRA's tensors and header belong to another family; None if they may belong to this one."""

    @abstractmethod
    def header(self, model: LatentModel) -> dict[str, str]:
        """The base's entries in the header of a LoRA's file, with the keys of kohya and modelspec."""

    @abstractmethod
    def usage(self, file: str) -> str:
        """Python code that loads a LoRA's file into a pipeline `pipe`."""

    @abstractmethod
    def pipeline(self, model: LatentModel) -> DiffusionPipeline:
        """The model as diffusers' pipeline of the same networks."""

    @abstractmethod
    def write(self, model: LatentModel, folder: Path, half: bool = True) -> Path:
        """Write the model as a pipeline folder, in fp16 if `half`. The folder appears when all of it is written."""

    def write_file(self, model: LatentModel, file: Path, half: bool = True) -> Path:
        """Write the model as one safetensors file in the family's original keys. Raises UserError if it has none."""
        raise UserError(f"{model.name} cannot be written as one file: write a folder, with --to diffusers")

    def latents(self, autoencoder: AutoencoderKL, x: Tensor) -> Tensor:
        """Pictures in [-1, 1] as latents of variance about 1, float32."""
        found: Tensor = autoencoder.encode(x).latent_dist.mean.float() * autoencoder.config.scaling_factor
        return found

    def pictures(self, autoencoder: AutoencoderKL, latents: Tensor) -> Tensor:
        """Latents as pictures in [-1, 1]."""
        found: Tensor = autoencoder.decode((latents / autoencoder.config.scaling_factor).to(autoencoder.dtype)).sample
        return found
