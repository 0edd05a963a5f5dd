"""What families whose text encoders read CLIP's tokens have in common."""

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
    """The model's first tokenizer counts and cuts prompts; the U-Net is called `unet` in diffusers' pipelines."""

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

    def usage(self, file: str) -> str:
        return f'pipe.load_lora_weights(".", weight_name="{file}")'
