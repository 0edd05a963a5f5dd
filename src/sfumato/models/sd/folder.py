"""Folders in the format of diffusers' StableDiffusionPipeline, read into a LatentModel."""

from __future__ import annotations

from pathlib import Path

from sfumato.models.assembly import assembled, parts_of
from sfumato.models.latent import LatentModel
from sfumato.models.pipelines import facts_of
from sfumato.models.sd.family import SD
from sfumato.models.sd.networks import TextNet


def read(folder: Path, name: str, device: str, precision: str) -> LatentModel:
    """A complete pipeline folder of this family as a model, with its own betas, prediction and resolution.

    Raises UserError if its weights are damaged.
    """
    from transformers import CLIPTextModel

    parts = parts_of(folder, precision, [("text_encoder", CLIPTextModel, "tokenizer")])
    facts = facts_of(folder)
    (text,) = parts.encoders
    net = TextNet(parts.unet, text, facts["schedule"])
    return assembled(net, parts.vae, parts.tokenizers, SD, name, device, precision, **facts)
