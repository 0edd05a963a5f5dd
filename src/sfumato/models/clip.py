"""The methods that families with CLIP's tokenizers have in common."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from sfumato.diffusion.condition import Condition
from sfumato.models import prompts
from sfumato.models.family import Family

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
