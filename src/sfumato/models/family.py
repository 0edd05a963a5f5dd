"""What a family of text-to-image models answers, so that everything else works with any of them.

A family is one folder: `sd/` is Stable Diffusion 1 and 2. It brings a LatentNet (its networks as one), a Family (what
its models answer), a module that reads them, and one line in `registry.py`.
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
Seen = Literal["whole", "places"]
"""Features of a picture as a whole, or of what is where on it."""


@dataclass(frozen=True)
class Part:
    """A network that a LoRA can change.

    name: of the module in the LatentNet, and in a Lora; text: it is a text encoder, which learns on wish alone;
    attention, feed_forward: endings of the names of layers that a LoRA changes; reads, writes: prefixes of kohya's
    keys; folder: of PEFT's files, in the LoRA's; diffusers: prefix of the keys in diffusers' files; inner: a prefix of
    module names that only some versions of the library have; outer: one that is left out of plain names, and stands in
    PEFT's and diffusers' files.
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
        """A module's name in every version of the library, without PEFT's wrapping."""
        return name.removeprefix(self.inner).removeprefix(self.outer).replace(".base_layer", "")

    def key(self, name: str) -> str:
        """The key that kohya's files have for a module of a plain name."""
        return self.writes + name.replace(".", "_")

    def keys(self, names: Iterable[str]) -> dict[str, str]:
        """Plain names of modules by what may stand in a file behind one of `reads`."""
        flat = {name.replace(".", "_"): name for name in names}
        before = {each.replace(".", "_") for each in (self.inner, self.outer)}
        return flat | {prefix + key: name for prefix in before for key, name in flat.items()}


class LatentNet(nn.Module, ABC):
    """F(x, c, **condition) of a text-to-image model: all its networks but the autoencoder.

    x: latents (N, C, h, w) of variance about 1; c: ln(sigma / alpha) / 4 of each, (N,). The condition is what
    `embedded` gives, or before that, where text encoders learn, what `Family.tokens` gives.
    """

    parts: ClassVar[tuple[Part, ...]]

    def module(self, part: Part) -> nn.Module:
        return self.get_submodule(part.name)

    def encoders(self) -> list[nn.Module]:
        """The text encoders."""
        return [self.module(part) for part in self.parts if part.text]

    def denoisers(self) -> list[nn.Module]:
        """All that is no text encoder."""
        return [self.module(part) for part in self.parts if not part.text]

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights of what denoises."""
        return next(self.denoisers()[0].parameters()).dtype

    @abstractmethod
    def embedded(self, tokens: Condition) -> Condition:
        """What the text encoders make of tokens, float32, with gradients if they are on."""

    @abstractmethod
    def layer(self, of: Seen) -> nn.Module:
        """The layer whose output, (N, D, h, w), tells pictures apart, as a whole or place by place."""

    @abstractmethod
    def save_memory(self) -> None:
        """Compute activations twice in training, and hold few of them (Chen et al. 2016)."""


class Family(ABC):
    """What models of one family answer. Stateless: a model brings its networks and tokenizers."""

    name: ClassVar[str]
    pipelines: ClassVar[str]
    """The class of diffusers that loads what `write` writes."""

    @abstractmethod
    def tokens(self, model: LatentModel, prompts: Sequence[str], sizes: Sequence[Size] | None = None) -> Condition:
        """Prompts as the text encoders' input, a row a prompt, on the CPU. Raises UserError on a monstrous one.

        sizes: (H, W) of the picture of each row before it was scaled to the model's, in pixels; left out: the model's
        own. A family that is not told sizes leaves them out.
        """

    def nothing(self, model: LatentModel) -> Condition:
        """The text encoders' input that stands for nothing, one row, on the CPU: the empty prompt."""
        return self.tokens(model, [""])

    @abstractmethod
    def encode(self, model: LatentModel, prompts: Sequence[str]) -> Condition:
        """Prompts as the denoising network takes them, float32, a row a prompt, where the model is."""

    def null(self, model: LatentModel) -> Condition:
        """The condition that stands for nothing, one row."""
        with torch.inference_mode():
            return model.net.embedded(self.nothing(model).to(model.device))

    @abstractmethod
    def cut(self, model: LatentModel, prompt: str) -> str:
        """The words of a prompt that the model does not read, "" if it reads all."""

    @abstractmethod
    def token_ids(self, model: LatentModel, text: str) -> list[int]:
        """The tokens that a text falls into, without start and end; low numbers are frequent ones."""

    @abstractmethod
    def vocabulary(self, model: LatentModel) -> list[str]:
        """All tokens in the order of their numbers; one that ends a word ends in `</w>`."""

    @abstractmethod
    def multiple(self, model: LatentModel) -> int:
        """A picture's sides must be multiples of this."""

    @abstractmethod
    def foreign(self, tensors: Mapping[str, Tensor], header: Facts) -> str | None:
        """Why a LoRA's file, by its tensors and header, is for another family; None if it may be for this one."""

    @abstractmethod
    def header(self, model: LatentModel) -> dict[str, str]:
        """What the header of a LoRA's file says of its base, by kohya's and modelspec's keys."""

    @abstractmethod
    def usage(self, file: str, magnitudes: bool) -> str:
        """Python that loads a LoRA's file into a pipeline `pipe`. magnitudes: it is DoRA."""

    @abstractmethod
    def pipeline(self, model: LatentModel) -> DiffusionPipeline:
        """The model as diffusers' pipeline of the same networks."""

    @abstractmethod
    def write(self, model: LatentModel, folder: Path, half: bool = True) -> Path:
        """Write the model as a pipeline folder, in fp16 if `half`; nothing is there until all of it is."""

    def write_file(self, model: LatentModel, file: Path, half: bool = True) -> Path:
        """Write the model as one safetensors file in the family's original keys. Raises UserError if it has none."""
        raise UserError(f"{model.name} has no form in one file: write its folder, with --to diffusers")

    def latents(self, autoencoder: AutoencoderKL, x: Tensor) -> Tensor:
        """Pictures in [-1, 1] as latents of variance about 1, float32."""
        found: Tensor = autoencoder.encode(x).latent_dist.mean.float() * autoencoder.config.scaling_factor
        return found

    def pictures(self, autoencoder: AutoencoderKL, latents: Tensor) -> Tensor:
        """Latents as pictures in [-1, 1]."""
        found: Tensor = autoencoder.decode((latents / autoencoder.config.scaling_factor).to(autoencoder.dtype)).sample
        return found
