"""Folders in the format of diffusers' StableDiffusionPipeline, read into a LatentModel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from torch import nn

from sfumato.errors import UserError
from sfumato.models.latent import LatentModel
from sfumato.models.pipelines import WHOLE, dtypes, facts_of, piecewise, quietly, unclipped
from sfumato.models.sd.family import SD
from sfumato.models.sd.networks import TextNet, layout
from sfumato.pictures.vocabulary import Vocabulary

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer


def read(folder: Path, name: str, device: str, precision: str) -> LatentModel:
    """A complete pipeline folder of this family as a model, with its own betas, prediction and resolution.

    Raises UserError if its weights are damaged.
    """
    quietly()
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    low, safe = dtypes(precision)
    files = {"use_safetensors": True, "local_files_only": True}
    try:
        vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=safe, **files)
        text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=low, **files)
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        if (folder / "unet" / WHOLE).is_file():
            unet = piecewise(UNet2DConditionModel, folder / "unet", low)
        else:
            unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=low, **files)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder} is not a whole pipeline: {str(error).strip().splitlines()[0]}") from error
    return assembled(unet, vae, text, tokenizer, name, device, precision, **facts_of(folder))


def assembled(
    unet: UNet2DConditionModel, vae: AutoencoderKL, text: CLIPTextModel, tokenizer: CLIPTokenizer, name: str,
    device: str, precision: str, **facts: Any,
) -> LatentModel:  # fmt: skip
    """A model from its networks. facts: its other fields, `schedule`, `prediction` and `defaults` among them.

    The only place that chooses the dtypes: see `dtypes`.
    """
    low, safe = dtypes(precision)
    facts["defaults"] = unclipped(facts["defaults"])
    net = TextNet(unet, text, facts["schedule"])
    for part, dtype in ((unet, low), (text, low), (net, None), (vae, safe)):
        nn.Module.to(part, device, dtype)  # diffusers' own `to` warns about every cast
        part.eval().requires_grad_(False)
    net.unet.to(memory_format=layout(device))
    side = unet.config.sample_size * 2 ** (len(vae.config.block_out_channels) - 1)
    return LatentModel(
        net=net, vocabulary=Vocabulary("words", [], tokenizer.model_max_length), shape=(3, side, side),
        name=name, device=device, precision=precision, autoencoder=vae, tokenizers=(tokenizer,), family=SD, **facts,
    )  # fmt: skip
