"""Reads one safetensors file in the original keys of Stable Diffusion, the format of most shared checkpoints."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as keys
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from sfumato.diffusion.schedule import scaled_linear
from sfumato.models.latent import LatentModel
from sfumato.models.originals import from_open_clip, inside
from sfumato.models.pipelines import GUIDANCE
from sfumato.models.sd.folder import assembled
from sfumato.models.sd.shapes import SHAPES, TEXT1, TEXT2, Shapes
from sfumato.models.singles import fill, fill_text, tensors_of, tokenizer_for
from sfumato.recipe.sections import Sample


def read(path: Path, name: str, device: str, precision: str) -> LatentModel:
    """A checkpoint of Stable Diffusion 1 or 2 as a model.

    Raises UserError: no safetensors file, missing weights, or no tokenizer.
    """
    tensors, facts = tensors_of(path)
    family = version(tensors)
    unet, vae, text = networks(tensors, SHAPES[family], path)
    epsilon = family == "sd1" or facts.get("modelspec.architecture", "").startswith("stable-diffusion-v2-512")
    prediction = (
        "epsilon" if facts.get("modelspec.prediction_type", "epsilon" if epsilon else "v") == "epsilon" else "v"
    )
    if family == "sd2" and prediction == "v":
        unet.register_to_config(sample_size=96)
    tokenizer = tokenizer_for(path, text.config.max_position_embeddings)
    if family == "sd2":
        tokenizer.pad_token = "!"
    return assembled(
        unet, vae, text, tokenizer, name, device, precision, schedule=scaled_linear(1000), prediction=prediction,
        defaults=Sample(guidance=GUIDANCE),
    )  # fmt: skip


def version(keys: Collection[str]) -> str:
    """ "sd1" or "sd2", by the text encoder that is in a file of this family."""
    return "sd1" if any(key.startswith(TEXT1) for key in keys) else "sd2"


def networks(
    tensors: dict[str, Tensor], family: Shapes, path: Path
) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """U-Net, autoencoder and text encoder, in fp32. Raises UserError if weights are missing or of another shape."""
    unet = UNet2DConditionModel(**family.unet)
    vae = AutoencoderKL(**family.vae)
    places = ("position_embedding.weight", "positional_embedding")
    length = next((len(t) for key, t in tensors.items() if key.endswith(places)), 77)
    words = next((len(t) for key, t in tensors.items() if key.endswith("token_embedding.weight")), 49408)
    text = CLIPTextModel(CLIPTextConfig(**family.text, vocab_size=words, max_position_embeddings=length))
    weights = inside(tensors, TEXT1) or from_open_clip(inside(tensors, TEXT2))
    fill(unet, keys.convert_ldm_unet_checkpoint(tensors, unet.config), "U-Net", path)
    fill(vae, keys.convert_ldm_vae_checkpoint(tensors, vae.config), "autoencoder", path)
    fill_text(text, weights, "text encoder", path)
    return unet, vae, text
