"""A model as diffusers' StableDiffusionPipeline, and as its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from sfumato.errors import UserError
from sfumato.models import originals, pipelines, singles
from sfumato.models.sd import shapes
from sfumato.models.sd.networks import TEXT, UNET, TextNet

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from sfumato.models.latent import LatentModel


def pipeline(
    model: LatentModel, networks: tuple[nn.Module, nn.Module, nn.Module] | None = None
) -> StableDiffusionPipeline:
    """A StableDiffusionPipeline of the model's own networks, or of others: denoising, text encoder, autoencoder."""
    pipelines.quietly()
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    unet, text, vae = networks or (model.net.module(UNET), model.net.module(TEXT), model.autoencoder)
    return StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=model.tokenizers[0], unet=unet,
        scheduler=DDIMScheduler(**pipelines.scheduler(model)), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def write_file(model: LatentModel, file: Path, architecture: str, half: bool = True) -> Path:
    """A model as one safetensors file in the original keys, in fp16 if `half`.

    architecture: modelspec's name of it. Raises UserError if its shapes or levels are not those of a single file.
    """
    net, vae, known = cast(TextNet, model.net), model.autoencoder, pipelines.scheduler(model)
    version = next(
        (name for name, shape in shapes.SHAPES.items() if singles.same_shape(
            ((net.unet, shape.unet), (vae, shape.vae), (net.text, shape.text))
        )), None,
    )  # fmt: skip
    if version is None or "trained_betas" in known or known["rescale_betas_zero_snr"] or model.prediction == "x0":
        raise UserError(
            f"{model.name} is not of Stable Diffusion's size, which a single file cannot state: use --to diffusers"
        )
    unet, text, first_stage = (each.state_dict() for each in _cast(model, half))
    names = originals.of_unet(unet)
    words = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in text.items()}
    tensors = {
        **{shapes.UNET + names[name]: value for name, value in unet.items()},
        **originals.outside(originals.to_vae(first_stage), shapes.VAE),
        **(
            originals.outside(words, shapes.TEXT1) if version == "sd1" else originals.outside(_open(text), shapes.TEXT2)
        ),
    }
    _, height, width = model.shape
    header = {
        "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": architecture, "modelspec.title": model.name,
        "modelspec.implementation": "https://github.com/Stability-AI/stablediffusion",
        "modelspec.resolution": f"{width}x{height}",
        "modelspec.prediction_type": "v" if model.prediction == "v" else "epsilon",
    }  # fmt: skip
    return singles.save(tensors, header, file, half)


def _open(text: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's weights, with the last layer twice: other programs expect one more layer, whose output is unused."""
    found = originals.to_open_clip(text)
    last = max(int(key.split(".")[2]) for key in found if key.startswith("transformer.resblocks."))
    before, after = (f"transformer.resblocks.{number}." for number in (last, last + 1))
    return found | {key.replace(before, after): t.clone() for key, t in found.items() if key.startswith(before)}


def write(model: LatentModel, folder: Path, half: bool = True) -> Path:
    """A model as a pipeline folder, in fp16 if `half`. The folder appears when all of it is written."""
    return pipelines.save(pipeline(model, _cast(model, half)), model, folder)


def _cast(model: LatentModel, half: bool) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Copies of U-Net, text encoder and autoencoder, in the dtype of the files."""
    dtype, parts = torch.float16 if half else torch.float32, (*map(model.net.module, (UNET, TEXT)), model.autoencoder)
    unet, text, vae = (pipelines.cast(part, dtype) for part in parts)
    return unet, text, vae
