"""Reads one safetensors file in the original keys of Stable Diffusion XL, the format of most shared checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sfumato.diffusion.schedule import scaled_linear, zero_terminal
from sfumato.files import Facts
from sfumato.models import originals, singles
from sfumato.models.latent import LatentModel
from sfumato.models.pipelines import dtypes
from sfumato.models.sdxl import shapes
from sfumato.models.sdxl.folder import GUIDANCE, assembled
from sfumato.models.sdxl.networks import Networks
from sfumato.recipe.sections import Sample

Net = TypeVar("Net", bound=nn.Module)
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
    return assembled(
        (unet, text, text_2, vae), [first, second], name, device, precision, schedule=levels,
        prediction="v" if v else "epsilon", defaults=Sample(guidance=GUIDANCE),
        empty_is_zero=facts.get(shapes.EMPTY) != "encoded",
    )  # fmt: skip


def networks(tensors: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> Networks:
    """U-Net and text encoders in `dtype`, the autoencoder in fp32. Raises UserError if weights are missing or of
    another shape."""
    shape = shapes.SHAPES
    unet = _placed(lambda: UNet2DConditionModel(**shape.unet))
    names = originals.of_unet(unet.state_dict())
    held = originals.inside(tensors, shapes.UNET)
    _give(unet, {ours: held[theirs] for ours, theirs in names.items() if theirs in held}, "U-Net", path, dtype)
    vae = _placed(lambda: AutoencoderKL(**shape.vae))
    held = originals.from_vae(originals.inside(tensors, shapes.VAE), vae.state_dict())
    _give(vae, held, "autoencoder", path, torch.float32)
    one, two = (originals.inside(tensors, prefix) for prefix in (shapes.TEXT, shapes.TEXT_2))
    text = CLIPTextModel(_config(one, "embeddings.token_embedding.weight", shape.text))
    text_2 = CLIPTextModelWithProjection(_config(two, "token_embedding.weight", shape.text_2))
    singles.fill_text(text, one, "first text encoder", path)
    singles.fill_text(text_2, originals.from_open_clip(two), "second text encoder", path)
    return unet, text.to(dtype), text_2.to(dtype), vae


def _placed(build: Callable[[], Net]) -> Net:
    """A network without memory for its weights, which are assigned later."""
    with torch.device("meta"):
        return build()


def _give(net: nn.Module, state: Mapping[str, Tensor], part: str, path: Path, dtype: torch.dtype) -> None:
    singles.fill(net, {name: value.to(dtype) for name, value in state.items()}, part, path, assign=True)


def _config(tensors: Mapping[str, Tensor], words: str, shape: Facts) -> CLIPTextConfig:
    """A text encoder's configuration. words: the end of the key of its token embedding."""
    known = next((len(value) for key, value in tensors.items() if key.endswith(words)), 49408)
    places = ("position_embedding.weight", "positional_embedding")
    length = next((len(value) for key, value in tensors.items() if key.endswith(places)), 77)
    return CLIPTextConfig(**shape, **shapes.END, vocab_size=known, max_position_embeddings=length)
