"""Reads one safetensors file in the original keys of Stable Diffusion XL, the format of most shared checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sfumato.diffusion.schedule import scaled_linear, zero_terminal
from sfumato.models import originals, singles
from sfumato.models.assembly import assembled
from sfumato.models.latent import LatentModel
from sfumato.models.pipelines import dtypes
from sfumato.models.sdxl import shapes
from sfumato.models.sdxl.family import SDXL
from sfumato.models.sdxl.folder import GUIDANCE
from sfumato.models.sdxl.networks import Networks, XLNet
from sfumato.recipe.sections import Sample

PAD = "!"  # of the second tokenizer


def read(path: Path, name: str, device: str, precision: str) -> LatentModel:
    """A checkpoint of Stable Diffusion XL as a model.

    Raises UserError: no safetensors file, missing weights, or no tokenizer.
    """
    tensors, facts = singles.tensors_of(path)
    unet, text, text_2, vae = networks(tensors, path, dtypes(precision)[0])
    first, second = (singles.tokenizer_for(path, text.config.max_position_embeddings) for _ in range(2))
    second.pad_token = PAD
    v = shapes.V in tensors or facts.get("modelspec.prediction_type") == "v"
    levels = zero_terminal(scaled_linear(1000)) if shapes.ZERO_SNR in tensors else scaled_linear(1000)
    net = XLNet(unet, text, text_2, levels, facts.get(shapes.EMPTY) != "encoded")
    return assembled(
        net, vae, [first, second], SDXL, name, device, precision, schedule=levels,
        prediction="v" if v else "epsilon", defaults=Sample(guidance=GUIDANCE),
    )  # fmt: skip


def networks(tensors: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> Networks:
    """U-Net and text encoders in `dtype`, the autoencoder in fp32. Raises UserError if weights are missing or of
    another shape."""
    shape = shapes.SHAPES
    unet, vae = singles.unet_and_vae(tensors, shape.unet, shape.vae, path, dtype)
    one, two = (originals.inside(tensors, prefix) for prefix in (shapes.TEXT, shapes.TEXT_2))
    text = CLIPTextModel(singles.clip_config(one, {**shape.text, **shapes.END}))
    text_2 = CLIPTextModelWithProjection(singles.clip_config(two, {**shape.text_2, **shapes.END}))
    singles.fill_text(text, one, "first text encoder", path)
    singles.fill_text(text_2, originals.from_open_clip(two), "second text encoder", path)
    return unet, text.to(dtype), text_2.to(dtype), vae
