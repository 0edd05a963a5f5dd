"""From networks to a text-to-image model: those of a pipeline folder are read, and any are put together, in one place.

For all families with a U-Net and an autoencoder of diffusers, and text encoders that read CLIP's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from torch import nn

from sfumato.errors import UserError
from sfumato.models.latent import LatentModel
from sfumato.models.pipelines import WHOLE, dtypes, piecewise, quietly, unclipped
from sfumato.models.unets import UNetNet, layout
from sfumato.pictures.vocabulary import Vocabulary

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTokenizer, PreTrainedModel

    from sfumato.models.family import Family


@dataclass(frozen=True)
class Parts:
    """The networks of a pipeline, and the tokenizer of each text encoder. U-Net and encoders have their final dtype."""

    unet: UNet2DConditionModel
    encoders: tuple[PreTrainedModel, ...]
    vae: AutoencoderKL
    tokenizers: tuple[CLIPTokenizer, ...]


def parts_of(folder: Path, precision: str, encoders: Sequence[tuple[str, type[PreTrainedModel], str]]) -> Parts:
    """The parts of a pipeline folder. encoders: of each text encoder its subfolder, class, and tokenizer's subfolder.

    Raises UserError if files are missing or damaged.
    """
    quietly()
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTokenizer

    low, _ = dtypes(precision)
    files = {"use_safetensors": True, "local_files_only": True}
    try:
        vae = AutoencoderKL.from_pretrained(folder / "vae", **files)
        read = tuple(kind.from_pretrained(folder / place, dtype=low, **files) for place, kind, _ in encoders)
        tokenizers = tuple(
            CLIPTokenizer.from_pretrained(folder / place, local_files_only=True) for _, _, place in encoders
        )
        if (folder / "unet" / WHOLE).is_file():
            unet = piecewise(UNet2DConditionModel, folder / "unet", low)
        else:
            unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=low, **files)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder} is not a whole pipeline: {str(error).strip().splitlines()[0]}") from error
    return Parts(unet, read, vae, tokenizers)


def assembled(
    net: UNetNet, vae: AutoencoderKL, tokenizers: Sequence[CLIPTokenizer], family: Family, name: str, device: str,
    precision: str, **facts: Any,
) -> LatentModel:  # fmt: skip
    """A model of networks, for inference. facts: its other fields, `schedule`, `prediction` and `defaults` among them.

    The only place that chooses the dtypes: see `dtypes`. Where the others are in fp16, the autoencoder is in fp32,
    unless its configuration allows fp16: most autoencoders overflow in it.
    """
    low, safe = dtypes(precision)
    own = safe if vae.config.force_upcast else low
    for part, dtype in (*((each, low) for each in net.children()), (net, None), (vae, own)):
        nn.Module.to(part, device, dtype)  # diffusers' own `to` warns about every cast
        part.eval().requires_grad_(False)
    net.unet.to(memory_format=layout(device))
    side = net.unet.config.sample_size * 2 ** (len(vae.config.block_out_channels) - 1)
    facts["defaults"] = unclipped(facts["defaults"])
    return LatentModel(
        net=net, vocabulary=Vocabulary("words", [], tokenizers[0].model_max_length), shape=(3, side, side), name=name,
        device=device, precision=precision, autoencoder=vae, tokenizers=tuple(tokenizers), family=family, **facts,
    )  # fmt: skip
