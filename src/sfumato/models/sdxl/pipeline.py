"""A model as diffusers' StableDiffusionXLPipeline, as its folder, and as one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from sfumato.errors import UserError
from sfumato.files import Facts
from sfumato.models import originals, pipelines, singles
from sfumato.models.sdxl import shapes
from sfumato.models.sdxl.networks import Networks, XLNet

if TYPE_CHECKING:
    from diffusers import StableDiffusionXLPipeline

    from sfumato.models.latent import LatentModel

TOKENIZERS = ("tokenizer", "tokenizer_2")


def pipeline(model: LatentModel, networks: Networks | None = None) -> StableDiffusionXLPipeline:
    """A StableDiffusionXLPipeline of the model's own networks, or of others: denoising, text encoders, autoencoder."""
    pipelines.quietly()
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline

    net = cast(XLNet, model.net)
    unet, text, text_2, vae = networks or (net.unet, net.text, net.text_2, model.autoencoder)
    return StableDiffusionXLPipeline(
        vae=vae, text_encoder=text, text_encoder_2=text_2, tokenizer=model.tokenizers[0],
        tokenizer_2=model.tokenizers[1], unet=unet, scheduler=DDIMScheduler(**pipelines.scheduler(model)),
        force_zeros_for_empty_prompt=net.empty_is_zero, add_watermarker=False,
    )  # fmt: skip


def write(model: LatentModel, folder: Path, half: bool = True) -> Path:
    """A model as a pipeline folder, in fp16 if `half`. The folder appears when all of it is written."""
    return pipelines.save(pipeline(model, _cast(model, half)), model, folder, TOKENIZERS)


def write_file(model: LatentModel, file: Path, architecture: str, half: bool = True) -> Path:
    """A model as one safetensors file in the original keys, in fp16 if `half`.

    architecture: modelspec's name of it. Raises UserError if its shapes or levels are not those of a single file.
    """
    known = pipelines.scheduler(model)
    _check(model, known)
    unet, text, text_2, vae = (net.state_dict() for net in _cast(model, half))
    names = originals.of_unet(unet)
    first = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in text.items()}
    tensors = {
        **{shapes.UNET + names[name]: value for name, value in unet.items()},
        **originals.outside(first, shapes.TEXT),
        **originals.outside(originals.to_open_clip(text_2), shapes.TEXT_2),
        **originals.outside(originals.to_vae(vae), shapes.VAE),
    }
    marks = {shapes.V: model.prediction == "v", shapes.ZERO_SNR: known["rescale_betas_zero_snr"]}
    tensors |= {mark: torch.empty(0) for mark, is_so in marks.items() if is_so}
    _, height, width = model.shape
    header = {
        "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": architecture,
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.title": model.name, "modelspec.resolution": f"{width}x{height}",
        "modelspec.prediction_type": "v" if model.prediction == "v" else "epsilon",
        shapes.EMPTY: "zeros" if cast(XLNet, model.net).empty_is_zero else "encoded",
    }  # fmt: skip
    return singles.save(tensors, header, file, half)


def _cast(model: LatentModel, half: bool) -> Networks:
    """Copies of U-Net, both text encoders and autoencoder, in the dtype of the files."""
    dtype, net = torch.float16 if half else torch.float32, cast(XLNet, model.net)
    unet, text, text_2, vae = (
        pipelines.cast(part, dtype) for part in (net.unet, net.text, net.text_2, model.autoencoder)
    )
    return unet, text, text_2, vae


def _check(model: LatentModel, levels: Facts) -> None:
    """Raises UserError if a single file, which holds weights alone, would be read as another model."""
    net = cast(XLNet, model.net)
    parts = (
        (net.unet, shapes.SHAPES.unet), (net.text, shapes.SHAPES.text), (net.text_2, shapes.SHAPES.text_2),
        (model.autoencoder, shapes.SHAPES.vae),
    )  # fmt: skip
    if not singles.same_shape(parts) or "trained_betas" in levels or model.prediction == "x0":
        raise UserError(f"{model.name} is not of SDXL's size, which a single file cannot state: use --to diffusers")
