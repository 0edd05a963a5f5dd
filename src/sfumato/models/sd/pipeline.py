"""A model as diffusers' StableDiffusionPipeline, and as its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from sfumato.models.pipelines import cast, quietly, save, scheduler
from sfumato.models.sd.networks import TEXT, UNET

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from sfumato.models.latent import LatentModel


def pipeline(
    model: LatentModel, networks: tuple[nn.Module, nn.Module, nn.Module] | None = None
) -> StableDiffusionPipeline:
    """A StableDiffusionPipeline of the model's own networks, or of others: denoising, text encoder, autoencoder."""
    quietly()
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    unet, text, vae = networks or (model.net.module(UNET), model.net.module(TEXT), model.autoencoder)
    return StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=model.tokenizers[0], unet=unet,
        scheduler=DDIMScheduler(**scheduler(model)), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def write(model: LatentModel, folder: Path, half: bool = True) -> Path:
    """A model as a pipeline folder, in fp16 if `half`; nothing is there until all of it is."""
    dtype = torch.float16 if half else torch.float32
    parts = (model.net.module(UNET), model.net.module(TEXT), model.autoencoder)
    unet, text, vae = (cast(part, dtype) for part in parts)
    return save(pipeline(model, (unet, text, vae)), model, folder)
