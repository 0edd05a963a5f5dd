"""Folders in the format of diffusers' StableDiffusionXLPipeline, read into a LatentModel."""

from __future__ import annotations

import json
from pathlib import Path

from sfumato.errors import UserError
from sfumato.models.assembly import assembled, parts_of
from sfumato.models.latent import LatentModel
from sfumato.models.pipelines import facts_of
from sfumato.models.registry import INDEX
from sfumato.models.sdxl.family import SDXL
from sfumato.models.sdxl.networks import XLNet

GUIDANCE = 5.0  # of bases without sampling settings; diffusers' default


def read(folder: Path, name: str, device: str, precision: str) -> LatentModel:
    """A complete pipeline folder of this family as a model, with its own betas, prediction and resolution.

    Raises UserError if its weights are damaged, or its U-Net has no inputs for pooled states and sizes.
    """
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    parts = parts_of(folder, precision, [
        ("text_encoder", CLIPTextModel, "tokenizer"), ("text_encoder_2", CLIPTextModelWithProjection, "tokenizer_2"),
    ])  # fmt: skip
    if parts.unet.config.addition_embed_type != "text_time":
        raise UserError(f"{name}: its U-Net has no inputs for pooled states and sizes, unlike Stable Diffusion XL's")
    facts = facts_of(folder, GUIDANCE)
    index = json.loads((folder / INDEX).read_text("utf-8"))
    zeros = bool(index.get("force_zeros_for_empty_prompt", True))
    text, text_2 = parts.encoders
    net = XLNet(parts.unet, text, text_2, facts["schedule"], zeros)
    return assembled(net, parts.vae, parts.tokenizers, SDXL, name, device, precision, **facts)
