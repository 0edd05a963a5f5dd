"""LoRA files added to a base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sfumato.errors import UserError
from sfumato.lora.formats import read
from sfumato.lora.lora import merge
from sfumato.lora.origin import check, origin
from sfumato.models.latent import latent_of
from sfumato.models.model import Model


def apply(model: Model, loras: Sequence[Path], scales: Sequence[float]) -> list[str]:
    """Add LoRAs to the weights of a model, each with its strength; returns one line for each.

    scales: one for all, one each, or none for 1. All are read before anything is changed. Raises UserError, also for
    a LoRA that was made for another version of this base.
    """
    base = latent_of(model)
    weights = list(scales) or [1.0]
    weights = weights * len(loras) if len(weights) == 1 else weights
    if len(weights) != len(loras):
        raise UserError(f"{len(loras)} LoRAs and {len(weights)} values of --lora-scale: give one, or one for each LoRA")
    origins = [origin(Path(path)) for path in loras]
    for path, made in zip(loras, origins, strict=True):
        check(base, made, str(path))
    found = [read(Path(path), base) for path in loras]
    base.words = base.words and base.words.also(made.trigger for made in origins)
    return [
        f"{path}: {merge(base.net, lora, weight, str(path))} weights changed, at {weight:g}"
        for path, lora, weight in zip(loras, found, weights, strict=True)
    ]
