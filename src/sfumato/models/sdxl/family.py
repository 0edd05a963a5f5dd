"""Stable Diffusion XL as a family."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.files import Facts
from sfumato.models import prompts
from sfumato.models.clip import ClipFamily
from sfumato.models.family import Size
from sfumato.models.sdxl.networks import XLNet
from sfumato.models.sdxl.pipeline import pipeline, write, write_file

if TYPE_CHECKING:
    from diffusers import StableDiffusionXLPipeline

    from sfumato.models.latent import LatentModel

WIDTHS = (768, 1024)  # of the prompt embeddings of Stable Diffusion 1 and 2; XL's have 2,048
EARLIER = re.compile(r"^lora_te_|down_blocks[._]0[._]attentions|(down|up)_blocks[._]3[._]")
"""Parts of Stable Diffusion 1 and 2 only: one text encoder, attention at full resolution, a fourth level."""
ACROSS = re.compile(r"attn2[._]to_k.*(down|lora_A)")


class StableDiffusionXL(ClipFamily):
    """Two text encoders; the condition are their states, the second's pooled embedding, and sizes."""

    name, pipelines = "sdxl", "StableDiffusionXLPipeline"

    def tokens(self, model: LatentModel, prompts_: Sequence[str], sizes: Sequence[Size] | None = None) -> Condition:
        first, second = (prompts.tokens(tokenizer, prompts_) for tokenizer in model.tokenizers)
        _, height, width = model.shape
        ids = [(*size, 0, 0, height, width) for size in (sizes or [(height, width)] * len(prompts_))]
        return Condition.of(
            first=first, second=second, ids=torch.tensor(ids, dtype=torch.int64).view(-1, 6),
            prompted=torch.ones(len(prompts_), dtype=torch.bool),
        )  # fmt: skip

    def nothing(self, model: LatentModel) -> Condition:
        empty = self.tokens(model, [""])
        prompted = torch.tensor([not cast(XLNet, model.net).empty_is_zero])
        return Condition({**empty.tensors, "prompted": prompted})

    def foreign(self, tensors: Mapping[str, Tensor], header: Facts) -> str | None:
        """Whether a file is for Stable Diffusion 1 or 2, by its header, its parts or the width of its embeddings."""
        says = str(header.get("ss_base_model_version", "")).startswith(("sd_v1", "sd_v2"))
        earlier = says or any(
            EARLIER.search(key) or (ACROSS.search(key) and value.ndim == 2 and value.shape[1] in WIDTHS)
            for key, value in tensors.items()
        )
        return "for Stable Diffusion 1 or 2: take one for SDXL" if earlier else None

    def pipeline(self, model: LatentModel) -> StableDiffusionXLPipeline:
        return pipeline(model)

    def write(self, model: LatentModel, folder: Path, half: bool = True) -> Path:
        return write(model, folder, half)

    def write_file(self, model: LatentModel, file: Path, half: bool = True) -> Path:
        return write_file(model, file, self.architecture(model), half)

    def version(self, model: LatentModel) -> str:
        return "sdxl_base_v1-0"

    def architecture(self, model: LatentModel) -> str:
        return "stable-diffusion-xl-v1-base"


SDXL = StableDiffusionXL()
