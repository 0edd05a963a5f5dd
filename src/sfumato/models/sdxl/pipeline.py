"""A model as diffusers' StableDiffusionXLPipeline, as its folder, and as one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from sfumato.errors import UserError
from sfumato.files import Facts
from sfumato.models import originals, pipelines, singles
from sfumato.models.sdxl import shapes
from sfumato.models.sdxl.networks import XLNet

if TYPE_CHECKING:
    from diffusers import StableDiffusionXLPipeline

    from sfumato.models.latent import LatentModel

TOKENIZERS = ("tokenizer", "tokenizer_2")


def pipeline(model: LatentModel, networks: tuple[nn.Module, ...] | None = None) -> StableDiffusionXLPipeline:
    """A StableDiffusionXLPipeline of the model's own networks, or of others: denoising, text encoders, autoencoder."""
    pipelines.quietly()
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline

    net = cast(XLNet, model.net)
    unet, text, text_2, vae = networks or pipelines.networks_of(model)
    return StableDiffusionXLPipeline(
        vae=vae, text_encoder=text, text_encoder_2=text_2, tokenizer=model.tokenizers[0],
        tokenizer_2=model.tokenizers[1], unet=unet, scheduler=DDIMScheduler(**pipelines.scheduler(model)),
        force_zeros_for_empty_prompt=net.empty_is_zero, add_watermarker=False,
    )  # fmt: skip


def write(model: LatentModel, folder: Path, half: bool = True) -> Path:
    """A model as a pipeline folder, in fp16 if `half`. The folder appears when all of it is written."""
    return pipelines.save(pipeline(model, pipelines.copies(model, half)), model, folder, TOKENIZERS)


def write_file(model: LatentModel, file: Path, architecture: str, half: bool = True) -> Path:
    """A model as one safetensors file in the original keys, in fp16 if `half`.

    architecture: modelspec's name of it. Raises UserError if its shapes or levels are not those of a single file.
    """
    known = pipelines.scheduler(model)
    _check(model, known)
    unet, text, text_2, vae = (net.state_dict() for net in pipelines.copies(model, half))
    tensors = {
        **originals.to_unet_and_vae(unet, vae),
        **originals.outside(originals.to_clip(text), shapes.TEXT),
        **originals.outside(originals.to_open_clip(text_2), shapes.TEXT_2),
    }
    marks = {shapes.V: model.prediction == "v", shapes.ZERO_SNR: known["rescale_betas_zero_snr"]}
    tensors |= {mark: torch.empty(0) for mark, is_so in marks.items() if is_so}
    header = singles.header(model, architecture, "https://github.com/Stability-AI/generative-models")
    header[shapes.EMPTY] = "zeros" if cast(XLNet, model.net).empty_is_zero else "encoded"
    return singles.save(tensors, header, file, half)


def _check(model: LatentModel, levels: Facts) -> None:
    """Raises UserError if a single file, which holds weights alone, would be read as another model."""
    net = cast(XLNet, model.net)
    parts = (
        (net.unet, shapes.SHAPES.unet), (net.text, shapes.SHAPES.text), (net.text_2, shapes.SHAPES.text_2),
        (model.autoencoder, shapes.SHAPES.vae),
    )  # fmt: skip
    if not singles.same_shape(parts) or "trained_betas" in levels or model.prediction == "x0":
        raise UserError(f"{model.name} is not of SDXL's size, which a single file cannot state: use --to diffusers")
