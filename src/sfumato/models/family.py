"""The interface of a family of text-to-image models. The rest of the program works with any family that implements it.

A family is one folder, such as `sd/` for Stable Diffusion 1 and 2, and one entry of `registry.py`. The folder contains
a LatentNet (the networks as one module), a Family (the methods), and a module that reads the models.
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
"""Features of the whole picture, or of each position in it."""


@dataclass(frozen=True)
class Part:
    """A network that a LoRA can change.

    Attributes:
        name: The name of the module in the LatentNet and in a Lora.
        attention: Endings of the names of the attention layers that a LoRA changes.
        feed_forward: The same for the feed-forward layers.
        text: Whether it is a text encoder, which is trained only on request.
        reads: Prefixes of the keys in kohya's files that are read.
        writes: The prefix of the keys in kohya's files that are written.
        folder: The subfolder of PEFT's files in the LoRA's folder; "" for the folder itself.
        diffusers: The prefix of the keys in diffusers' files.
        inner: A prefix of module names that only some versions of transformers have.
        outer: A prefix that the keys of PEFT's and diffusers' files have, but plain names do not.
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
    """F(x, c, **condition) of a text-to-image model: all its networks except the autoencoder.

    x: noisy latents, (N, C, h, w), of variance about 1; c: ln(sigma / alpha) / 4 of each, (N,). The condition is the
    result of `embedded`, or of `Family.tokens` if the text encoders are trained too.
    """

    parts: ClassVar[tuple[Part, ...]]

    def module(self, part: Part) -> nn.Module:
        """The network of a part."""
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
        """The layer whose output, (N, D, h, w), serves as features of the whole picture or of each position in it."""

    @abstractmethod
    def save_memory(self) -> None:
        """Turn on activation checkpointing: less memory in training, more computation (Chen et al. 2016)."""


class Family(ABC):
    """The methods of one family. It has no state: networks and tokenizers belong to the model."""

    name: ClassVar[str]
    pipelines: ClassVar[str]
    """The class of diffusers that loads what `write` writes."""

    @abstractmethod
    def tokens(self, model: LatentModel, prompts: Sequence[str], sizes: Sequence[Size] | None = None) -> Condition:
        """Prompts as the text encoders' input, one row per prompt, on the CPU. Raises UserError if one is too long.

        sizes: for each row (H, W) in pixels of its picture before it was scaled to the model's size; left out: the
        model's own size. A family whose condition has no sizes ignores them.
        """

    def nothing(self, model: LatentModel) -> Condition:
        """The text encoders' input of the empty prompt, one row, on the CPU."""
        return self.tokens(model, [""])

    @abstractmethod
    def encode(self, model: LatentModel, prompts: Sequence[str]) -> Condition:
        """Prompt embeddings, the condition of the denoising network: float32, one row per prompt, on its device."""

    def null(self, model: LatentModel) -> Condition:
        """The empty condition, one row."""
        with torch.inference_mode():
            return model.net.embedded(self.nothing(model).to(model.device))

    @abstractmethod
    def cut(self, model: LatentModel, prompt: str) -> str:
        """The end of a prompt that exceeds the model's number of tokens; "" if the prompt fits."""

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
    def usage(self, file: str, magnitudes: bool) -> str:
        """Python code that loads a LoRA's file into a pipeline `pipe`. magnitudes: it is a DoRA."""

    @abstractmethod
    def pipeline(self, model: LatentModel) -> DiffusionPipeline:
        """The model as a pipeline of diffusers, which uses the same networks."""

    @abstractmethod
    def write(self, model: LatentModel, folder: Path, half: bool = True) -> Path:
        """Write the model as a pipeline folder, in fp16 if `half`, else fp32. It appears when it is complete."""

    def write_file(self, model: LatentModel, file: Path, half: bool = True) -> Path:
        """Write the model as one safetensors file with the original keys. Raises UserError if the family has none."""
        raise UserError(f"{model.name} cannot be written as one file: write a folder, with --to diffusers")

    def latents(self, autoencoder: AutoencoderKL, x: Tensor) -> Tensor:
        """Pictures, (N, 3, H, W) in [-1, 1], as latents of variance about 1, float32 (N, C, h, w)."""
        found: Tensor = autoencoder.encode(x).latent_dist.mean.float() * autoencoder.config.scaling_factor
        return found

    def pictures(self, autoencoder: AutoencoderKL, latents: Tensor) -> Tensor:
        """Latents, (N, C, h, w), as pictures in [-1, 1], (N, 3, H, W)."""
        found: Tensor = autoencoder.decode((latents / autoencoder.config.scaling_factor).to(autoencoder.dtype)).sample
        return found
