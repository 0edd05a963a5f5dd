"""The methods that families with CLIP's tokenizers and diffusers' conditional U-Net have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch

from sfumato.diffusion.condition import Condition
from sfumato.models import prompts, singles
from sfumato.models.family import Family
from sfumato.models.unets import UNetNet

if TYPE_CHECKING:
    from sfumato.models.latent import LatentModel


class ClipFamily(Family, ABC):
    """A family whose prompts are counted and cut by the first tokenizer, and whose U-Net diffusers calls `unet`."""

    @torch.inference_mode()
    def encode(self, model: LatentModel, prompts_: Sequence[str]) -> Condition:
        return model.net.embedded(self.tokens(model, prompts_).to(model.device))

    def cut(self, model: LatentModel, prompt: str) -> str:
        return prompts.cut(model.tokenizers[0], prompt)

    def token_ids(self, model: LatentModel, text: str) -> list[int]:
        return list(model.tokenizers[0](text, add_special_tokens=False).input_ids)

    def vocabulary(self, model: LatentModel) -> list[str]:
        known = model.tokenizers[0].get_vocab()
        return sorted(known, key=lambda token: known[token])

    def usage(self, file: str, magnitudes: bool) -> str:
        if magnitudes:  # diffusers ignores magnitudes in kohya's files
            return 'from peft import PeftModel\n\npipe.unet = PeftModel.from_pretrained(pipe.unet, ".")'
        return f'pipe.load_lora_weights(".", weight_name="{file}")'

    def multiple(self, model: LatentModel) -> int:
        return int(model.factor * 2 ** (len(cast(UNetNet, model.net).unet.config.block_out_channels) - 1))

    def header(self, model: LatentModel) -> dict[str, str]:
        version = self.version(model)
        return {
            "ss_base_model_version": version, "ss_v2": str(version == "sd_v2"),
            "modelspec.architecture": f"{self.architecture(model)}/lora",
            "modelspec.prediction_type": singles.prediction(model),
        }  # fmt: skip

    @abstractmethod
    def version(self, model: LatentModel) -> str:
        """kohya's name of the base's version."""

    @abstractmethod
    def architecture(self, model: LatentModel) -> str:
        """modelspec's name of the base."""
