"""One safetensors file in the original keys of Stable Diffusion, as most shared checkpoints are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as keys
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from sfumato.diffusion.schedule import scaled_linear
from sfumato.files import Facts
from sfumato.models.latent import LatentModel
from sfumato.models.pipelines import GUIDANCE
from sfumato.models.sd.folder import assembled
from sfumato.models.singles import fill, tensors_of, tokenizer_for
from sfumato.recipe.sections import Sample

TEXT1, TEXT2 = "cond_stage_model.transformer.", "cond_stage_model.model."


@dataclass(frozen=True)
class Shapes:
    """The shapes of the networks, as diffusers' and transformers' configurations; resolution in latents."""

    unet: Facts
    vae: Facts
    text: Facts


_UNET = {"block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2, "sample_size": 64}
_VAE = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4, "sample_size": 512,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
SHAPES = {
    "sd1": Shapes(
        {**_UNET, "cross_attention_dim": 768, "attention_head_dim": 8},
        _VAE,
        {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    ),
    "sd2": Shapes(
        {**_UNET, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
        _VAE,
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16,
         "hidden_act": "gelu", "projection_dim": 512},
    ),
}  # fmt: skip


def read(path: Path, name: str, device: str, precision: str) -> LatentModel:
    """A checkpoint of Stable Diffusion 1 or 2 as a model.

    Raises UserError: no safetensors, weights that are missing, or no tokenizer at hand.
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
    length = next((len(t) for key, t in tensors.items() if key.endswith("position_embedding.weight")), 77)
    words = next((len(t) for key, t in tensors.items() if key.endswith("token_embedding.weight")), 49408)
    text = CLIPTextModel(CLIPTextConfig(**family.text, vocab_size=words, max_position_embeddings=length))
    told = keys.convert_ldm_clip_checkpoint(tensors)
    told = told or keys.convert_open_clip_checkpoint(text, tensors, prefix=TEXT2)
    told = {key: t for key, t in told.items() if not key.endswith(("position_ids", "text_projection.weight"))}
    fill(unet, keys.convert_ldm_unet_checkpoint(tensors, unet.config), "U-Net", path)
    fill(vae, keys.convert_ldm_vae_checkpoint(tensors, vae.config), "autoencoder", path)
    flat = not any(key.startswith("text_model.") for key in text.state_dict())
    fill(text, {key.removeprefix("text_model.") if flat else key: t for key, t in told.items()}, "text encoder", path)
    return unet, vae, text
