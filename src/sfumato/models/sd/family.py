"""Stable Diffusion 1 and 2 as a family; mini is one of its models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.files import Facts
from sfumato.models import prompts
from sfumato.models.clip import ClipFamily
from sfumato.models.family import Size
from sfumato.models.sd.networks import TextNet
from sfumato.models.sd.pipeline import pipeline, write, write_file

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from sfumato.models.latent import LatentModel

XL = 2048  # width of the prompt embeddings of Stable Diffusion XL
WIDTH_2 = 1024  # of Stable Diffusion 2


class StableDiffusion(ClipFamily):
    """One text encoder, whose states are the condition."""

    name, pipelines = "sd", "StableDiffusionPipeline"

    def tokens(self, model: LatentModel, prompts_: Sequence[str], sizes: Sequence[Size] | None = None) -> Condition:
        return Condition.of(tokens=prompts.tokens(model.tokenizers[0], prompts_))

    def foreign(self, tensors: Mapping[str, Tensor], header: Facts) -> str | None:
        """Whether a file is for Stable Diffusion XL, by its header, its second text encoder, its names or widths."""
        says = str(header.get("ss_base_model_version", "")).startswith("sdxl")
        xl = says or any(
            key.startswith(("lora_te2_", "text_encoder_2.", "lora_unet_input_blocks_", "lora_unet_output_blocks_"))
            or re.search(r"transformer_blocks[._][1-9]", key)
            or (re.search(r"attn2[._]to_k.*down", key) and value.ndim == 2 and value.shape[1] == XL)
            for key, value in tensors.items()
        )
        return "for Stable Diffusion XL: take one for SD 1 or 2" if xl else None

    def pipeline(self, model: LatentModel) -> StableDiffusionPipeline:
        return pipeline(model)

    def write(self, model: LatentModel, folder: Path, half: bool = True) -> Path:
        return write(model, folder, half)

    def write_file(self, model: LatentModel, file: Path, half: bool = True) -> Path:
        return write_file(model, file, self.architecture(model), half)

    def version(self, model: LatentModel) -> str:
        return "sd_v2" if _is_2(model) else "sd_v1"

    def architecture(self, model: LatentModel) -> str:
        if not _is_2(model):
            return "stable-diffusion-v1"
        return "stable-diffusion-v2-768-v" if model.prediction == "v" else "stable-diffusion-v2-512"


def _is_2(model: LatentModel) -> bool:
    return bool(cast(TextNet, model.net).unet.config.cross_attention_dim == WIDTH_2)


SD = StableDiffusion()
