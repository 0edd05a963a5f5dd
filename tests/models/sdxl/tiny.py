"""A tiny Stable Diffusion XL of diffusers' and transformers' own classes, never trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sfumato.models.latent import LatentModel
from sfumato.models.sdxl.shapes import END, SHAPES, Shapes
from sfumato.pictures.tokenizer import learn_tokenizer
from sfumato.zoo import load

LENGTH = 16
SMALL = Shapes(
    unet={
        **SHAPES.unet, "block_out_channels": (16, 32, 32), "sample_size": 8, "norm_num_groups": 8,
        "transformer_layers_per_block": (1, 1, 2), "attention_head_dim": (1, 2, 4), "cross_attention_dim": 80,
        "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 24,
    },
    vae={
        **SHAPES.vae, "block_out_channels": (16, 16), "layers_per_block": 1, "norm_num_groups": 8, "sample_size": 16,
        "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
    },
    text={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2},
    text_2={
        "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 3,
        "hidden_act": "gelu", "projection_dim": 24,
    },
)  # fmt: skip


def words() -> CLIPTokenizer:
    return learn_tokenizer(["a red car on a road", "a blue house", "a small cat"] * 20, 700, LENGTH)


def pipeline(prediction: str = "epsilon", zeros: bool = True) -> StableDiffusionXLPipeline:
    """What `StableDiffusionXLPipeline` is made of, by diffusers itself."""
    torch.manual_seed(0)
    first, second = words(), words()
    second.pad_token = "!"
    table = {"vocab_size": len(first), "max_position_embeddings": LENGTH, **END}
    made = StableDiffusionXLPipeline(
        vae=AutoencoderKL(**SMALL.vae), unet=UNet2DConditionModel(**SMALL.unet),
        text_encoder=CLIPTextModel(CLIPTextConfig(**SMALL.text, **table)),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**SMALL.text_2, **table)),
        tokenizer=first, tokenizer_2=second, force_zeros_for_empty_prompt=zeros, add_watermarker=False,
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=prediction,
            timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True,
        ),
    )  # fmt: skip
    for net in (made.unet, made.vae, made.text_encoder, made.text_encoder_2):
        stirred_weights(net)
    made.set_progress_bar_config(disable=True)
    return made


def stirred_weights(net: torch.nn.Module) -> None:
    """Move every weight a little, so that none is zero or one and a swapped pair shows."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=generator))


def folder(path: Path, **options: Any) -> Path:
    """A tiny pipeline's folder."""
    pipeline(**options).save_pretrained(path, safe_serialization=True)
    for place in ("tokenizer", "tokenizer_2"):
        words().backend_tokenizer.model.save(str(path / place))
    return path


def file(path: Path, made: Path, half: bool = False) -> Path:
    """A pipeline's folder as a single file in `path`, written by us, with a tokenizer beside it."""
    model = xl(made)
    (path / "tokenizer").mkdir(parents=True)
    words().backend_tokenizer.model.save(str(path / "tokenizer"))
    return model.family.write_file(model, path / "xl.safetensors", half)


def xl(path: Path, precision: str = "fp32") -> LatentModel:
    found = load(path, device="cpu", precision=precision)
    assert isinstance(found, LatentModel)
    return found
