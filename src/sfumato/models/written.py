"""A model written for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfumato.models.latent import latent_of
from sfumato.models.model import Model


@dataclass(frozen=True)
class Written:
    """folder: in diffusers' format; model: its name; pipeline: the class of diffusers that loads it; bytes: of all its
    files; notes: what was done to the weights, a line each."""

    folder: Path
    model: str
    pipeline: str
    bytes: int
    notes: tuple[str, ...] = ()


def write(model: Model, out: Path, half: bool = True, notes: tuple[str, ...] = ()) -> Written:
    """Write a text-to-image model as a pipeline folder, in fp16 if `half`. Raises UserError if it is none."""
    whole = latent_of(model, "diffusers has no pipeline for it")
    whole.family.write(whole, out, half)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return Written(out, whole.name, whole.family.pipelines, size, notes)
