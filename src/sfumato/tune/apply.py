"""LoRA files laid over a base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sfumato.errors import UserError
from sfumato.model import Model
from sfumato.nets.latent import TextNet
from sfumato.text.model import TextModel
from sfumato.tune.formats import read
from sfumato.tune.lora import merge


def apply(model: Model, loras: Sequence[Path], scales: Sequence[float]) -> list[str]:
    """Add LoRAs to the weights of a model, each with its weight; one line on each.

    scales: one for all, one a LoRA, or none for 1. All are read before anything is changed. Raises UserError.
    """
    if not isinstance(model, TextModel) or not isinstance(model.net, TextNet):
        raise UserError(f"{model.name} is not a text-to-image model: a LoRA cannot change it")
    weights = list(scales) or [1.0]
    weights = weights * len(loras) if len(weights) == 1 else weights
    if len(weights) != len(loras):
        raise UserError(f"{len(loras)} LoRAs and {len(weights)} weights: give --lora-scale once, or once a LoRA")
    found = [read(Path(path), model.net) for path in loras]
    return [
        f"{path}: {merge(model.net, lora, weight, str(path))} weights changed, at {weight:g}"
        for path, lora, weight in zip(loras, found, weights, strict=True)
    ]
