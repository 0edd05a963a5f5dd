"""Adds LoRA files to a base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sfumato.lora.formats import read
from sfumato.lora.lora import merge, sharing
from sfumato.lora.origin import check, origin
from sfumato.models.latent import LatentModel, latent_of
from sfumato.models.model import Model


def over(model: Model, loras: Sequence[tuple[Path, float]]) -> tuple[LatentModel, list[str]]:
    """A copy of the model with LoRAs added to its weights, and a line on each LoRA. loras: pairs of path and weight.

    The given model stays unchanged; the copy shares all tensors with it that no LoRA changes. All files are read before
    the first is added. Raises UserError, also for a LoRA that was made for another version of this base.
    """
    base = latent_of(model)
    origins = [origin(path) for path, _ in loras]
    for (path, _), made in zip(loras, origins, strict=True):
        check(base, made, str(path))
    read_loras = [read(path, base) for path, _ in loras]
    words = base.words and base.words.also(made.trigger for made in origins)
    changed = replace(base, net=sharing(base.net), words=words)
    return changed, [
        f"{path}: {merge(changed.net, lora, weight, str(path))} weights changed, at {weight:g}"
        for (path, weight), lora in zip(loras, read_loras, strict=True)
    ]
