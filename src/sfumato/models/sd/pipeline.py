"""A model as diffusers' StableDiffusionPipeline, and as its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from sfumato.errors import UserError
from sfumato.models import originals, pipelines, singles
from sfumato.models.sd import shapes
from sfumato.models.sd.networks import TextNet

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from sfumato.models.latent import LatentModel


def pipeline(model: LatentModel, networks: tuple[nn.Module, ...] | None = None) -> StableDiffusionPipeline:
    """A StableDiffusionPipeline of the model's own networks, or of others: denoising, text encoder, autoencoder."""
    pipelines.quietly()
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    unet, text, vae = networks or pipelines.networks_of(model)
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
    unet, text, first_stage = (each.state_dict() for each in pipelines.copies(model, half))
    words = (
        originals.outside(originals.to_clip(text), shapes.TEXT1) if version == "sd1"
        else originals.outside(_open(text), shapes.TEXT2)
    )  # fmt: skip
    header = singles.header(model, architecture, "https://github.com/Stability-AI/stablediffusion")
    return singles.save(originals.to_unet_and_vae(unet, first_stage) | words, header, file, half)


def _open(text: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's weights, with the last layer twice: other programs expect one more layer, whose output is unused."""
    found = originals.to_open_clip(text)
    last = max(int(key.split(".")[2]) for key in found if key.startswith("transformer.resblocks."))
    before, after = (f"transformer.resblocks.{number}." for number in (last, last + 1))
    return found | {key.replace(before, after): t.clone() for key, t in found.items() if key.startswith(before)}


def write(model: LatentModel, folder: Path, half: bool = True) -> Path:
    """A model as a pipeline folder, in fp16 if `half`. The folder appears when all of it is written."""
    return pipelines.save(pipeline(model, pipelines.copies(model, half)), model, folder)
