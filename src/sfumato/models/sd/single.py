"""Reads one safetensors file in the original keys of Stable Diffusion, the format of most shared checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from sfumato.diffusion.schedule import scaled_linear
from sfumato.models import originals, singles
from sfumato.models.assembly import assembled
from sfumato.models.latent import LatentModel
from sfumato.models.pipelines import GUIDANCE, dtypes
from sfumato.models.sd.family import SD
from sfumato.models.sd.networks import TextNet
from sfumato.models.sd.shapes import SHAPES, TEXT1, TEXT2, Shapes
from sfumato.recipe.sections import Sample


def read(path: Path, name: str, device: str, precision: str) -> LatentModel:
    """A checkpoint of Stable Diffusion 1 or 2 as a model.

    Raises UserError: no safetensors file, missing weights, or no tokenizer.
    """
    tensors, facts = singles.tensors_of(path)
    family = version(tensors)
    unet, vae, text = networks(tensors, SHAPES[family], path, dtypes(precision)[0])
    epsilon = family == "sd1" or facts.get("modelspec.architecture", "").startswith("stable-diffusion-v2-512")
    prediction = (
        "epsilon" if facts.get("modelspec.prediction_type", "epsilon" if epsilon else "v") == "epsilon" else "v"
    )
    if family == "sd2" and prediction == "v":
        unet.register_to_config(sample_size=96)
    tokenizer = singles.tokenizer_for(path, text.config.max_position_embeddings)
    if family == "sd2":
        tokenizer.pad_token = "!"
    levels = scaled_linear(1000)
    return assembled(
        TextNet(unet, text, levels), vae, [tokenizer], SD, name, device, precision, schedule=levels,
        prediction=prediction, defaults=Sample(guidance=GUIDANCE),
    )  # fmt: skip


def version(keys: Collection[str]) -> str:
    """ "sd1" or "sd2", by the text encoder that is in a file of this family."""
    return "sd1" if any(key.startswith(TEXT1) for key in keys) else "sd2"


def networks(
    tensors: Mapping[str, Tensor], family: Shapes, path: Path, dtype: torch.dtype
) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """U-Net and text encoder in `dtype`, the autoencoder in fp32.

    Raises UserError if weights are missing or of another shape.
    """
    unet, vae = singles.unet_and_vae(tensors, family.unet, family.vae, path, dtype)
    weights = originals.inside(tensors, TEXT1) or originals.from_open_clip(originals.inside(tensors, TEXT2))
    text = CLIPTextModel(singles.clip_config(weights, family.text))
    singles.fill_text(text, weights, "text encoder", path)
    return unet, vae, text.to(dtype)
