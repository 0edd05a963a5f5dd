"""Adds LoRA files to a base."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sfumato.errors import PromptWarning, UserError
from sfumato.lora.formats import read
from sfumato.lora.lora import fit, merge, sharing
from sfumato.lora.named import Strength, worded
from sfumato.lora.origin import check, origin
from sfumato.models.latent import LatentModel, latent_of
from sfumato.models.model import Model

HALF = 65504.0  # the largest number of fp16


def over(model: Model, loras: Sequence[tuple[Path, Strength]]) -> tuple[LatentModel, list[str]]:
    """A copy of the model with LoRAs added to its weights, and lines on each LoRA. loras: pairs of path and strength.

    The given model stays unchanged; the copy shares all tensors with it that no LoRA changes. All files are read and
    checked before the first is added. Embeddings in a file are left out, with a PromptWarning. Raises UserError, also
    for a LoRA that was made for another version of this base.
    """
    base = latent_of(model)
    origins = [origin(path) for path, _ in loras]
    for (path, _), made in zip(loras, origins, strict=True):
        check(base, made, str(path))
    read_loras = [read(path, base) for path, _ in loras]
    for (path, _), lora in zip(loras, read_loras, strict=True):
        fit(base.net, lora, str(path))
    words = base.words and base.words.also(made.trigger for made in origins)
    changed = replace(base, net=sharing(base.net), words=words)
    lines = []
    for (path, strength), lora in zip(loras, read_loras, strict=True):
        lines.append(f"{path}: {merge(changed.net, lora, strength, str(path))} weights changed, at {worded(strength)}")
        if lora.left_out:
            lines.append(f"{path}: its embeddings are not used: {', '.join(lora.left_out)}")
            warnings.warn(lines[-1], PromptWarning, stacklevel=3)
    return changed, lines


def check_half(model: LatentModel) -> None:
    """Raises UserError if a weight is beyond the range of fp16."""
    for name, tensor in model.net.named_parameters():
        if float(tensor.detach().abs().max()) > HALF:
            raise UserError(f"{model.name}: {name} is beyond the range of fp16: write fp32, with --no-half")
