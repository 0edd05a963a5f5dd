"""Writes a model in the formats of other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfumato.models.latent import latent_of
from sfumato.models.model import Model


@dataclass(frozen=True)
class Written:
    """A model that was written.

    Attributes:
        folder: The folder in diffusers' format, or the single file.
        model: The name of the model.
        pipeline: The class of diffusers that loads it.
        loader: The method of that class that loads it.
        bytes: Size of all files.
        notes: One line for each LoRA that was merged.
    """

    folder: Path
    model: str
    pipeline: str
    loader: str
    bytes: int
    notes: tuple[str, ...] = ()


def write(model: Model, out: Path, half: bool = True, notes: tuple[str, ...] = (), single: bool = False) -> Written:
    """Write a text-to-image model as a pipeline folder, or as one file if `single`.

    out: the folder or file; half: in fp16, else in fp32; notes: for the result.
    Raises UserError if it is another kind of model, or its family has no format for single files.
    """
    whole = latent_of(model, "diffusers has no pipeline for it")
    (whole.family.write_file if single else whole.family.write)(whole, out, half)
    size = sum(file.stat().st_size for file in (out, *out.rglob("*")) if file.is_file())
    loader = "from_single_file" if single else "from_pretrained"
    return Written(out, whole.name, whole.family.pipelines, loader, size, notes)
