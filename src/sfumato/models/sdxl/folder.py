"""Folders in the format of diffusers' StableDiffusionXLPipeline, read into a LatentModel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn
from transformers import CLIPTokenizer

from sfumato.diffusion.schedule import Discrete
from sfumato.errors import UserError
from sfumato.models.latent import LatentModel
from sfumato.models.pipelines import WHOLE, dtypes, facts_of, piecewise, quietly, unclipped
from sfumato.models.registry import INDEX
from sfumato.models.sd.networks import layout
from sfumato.models.sdxl.family import SDXL
from sfumato.models.sdxl.networks import Networks, XLNet
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.sections import Sample

GUIDANCE = 5.0  # of bases without sampling settings; diffusers' default


def read(folder: Path, name: str, device: str, precision: str) -> LatentModel:
    """A complete pipeline folder of this family as a model, with its own betas, prediction and resolution.

    Raises UserError if its weights are damaged.
    """
    quietly()
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    low, _ = dtypes(precision)
    files = {"use_safetensors": True, "local_files_only": True}
    try:
        index = json.loads((folder / INDEX).read_text("utf-8"))
        vae = AutoencoderKL.from_pretrained(folder / "vae", **files)
        text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=low, **files)
        text_2 = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2", dtype=low, **files)
        tokenizers = [
            CLIPTokenizer.from_pretrained(folder / each, local_files_only=True) for each in ("tokenizer", "tokenizer_2")
        ]
        if (folder / "unet" / WHOLE).is_file():
            unet = piecewise(UNet2DConditionModel, folder / "unet", low)
        else:
            unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=low, **files)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder} is not a whole pipeline: {str(error).strip().splitlines()[0]}") from error
    return assembled(
        (unet, text, text_2, vae), tokenizers, name, device, precision, **facts_of(folder, GUIDANCE),
        empty_is_zero=bool(index.get("force_zeros_for_empty_prompt", True)),
    )  # fmt: skip


def assembled(
    networks: Networks, tokenizers: list[CLIPTokenizer], name: str, device: str, precision: str, *,
    schedule: Discrete, defaults: Sample, empty_is_zero: bool = True, **facts: Any,
) -> LatentModel:  # fmt: skip
    """A model from its parts. networks: U-Net, both text encoders, autoencoder; facts: other fields, `prediction` among
    them.

    The only place that chooses the dtypes: see `dtypes`. Where the others are in fp16, the autoencoder is in fp32,
    unless its configuration allows fp16: most autoencoders of this family overflow in it.
    """
    low, safe = dtypes(precision)
    unet, text, text_2, vae = networks
    if unet.config.addition_embed_type != "text_time":
        raise UserError(f"{name}: its U-Net has no inputs for pooled states and sizes, unlike Stable Diffusion XL's")
    net = XLNet(unet, text, text_2, schedule, empty_is_zero)
    own = safe if vae.config.force_upcast else low
    for part, dtype in ((unet, low), (text, low), (text_2, low), (net, None), (vae, own)):
        nn.Module.to(part, device, dtype)  # diffusers' own `to` warns about every cast
        part.eval().requires_grad_(False)
    net.unet.to(memory_format=layout(device))
    side = unet.config.sample_size * 2 ** (len(vae.config.block_out_channels) - 1)
    return LatentModel(
        net=net, vocabulary=Vocabulary("words", [], tokenizers[0].model_max_length), shape=(3, side, side),
        schedule=schedule, defaults=unclipped(defaults), name=name, device=device,
        precision=precision, autoencoder=vae, tokenizers=tuple(tokenizers), family=SDXL, **facts,
    )  # fmt: skip
