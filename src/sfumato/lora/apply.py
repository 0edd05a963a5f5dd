"""LoRA files laid over a base, and a base with the LoRA of a tuning as one model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from sfumato.errors import UserError
from sfumato.lora.adapter import Adapter, attach
from sfumato.lora.formats import CONFIG, read
from sfumato.lora.lora import merge
from sfumato.lora.origin import Origin, check, origin
from sfumato.models.identity import Identity
from sfumato.models.latent import LatentModel
from sfumato.models.model import Model
from sfumato.models.sd.networks import TextNet
from sfumato.recipe.recipe import Recipe
from sfumato.tuning.task import shape_of


def apply(model: Model, loras: Sequence[Path], scales: Sequence[float]) -> list[str]:
    """Add LoRAs to the weights of a model, each with its weight; one line on each.

    scales: one for all, one a LoRA, or none for 1. All are read before anything is changed. Raises UserError, also for
    a LoRA that was made for another version of this base.
    """
    if not isinstance(model, LatentModel) or not isinstance(model.net, TextNet):
        raise UserError(f"{model.name} is not a text-to-image model: a LoRA cannot change it")
    weights = list(scales) or [1.0]
    weights = weights * len(loras) if len(weights) == 1 else weights
    if len(weights) != len(loras):
        raise UserError(f"{len(loras)} LoRAs and {len(weights)} weights: give --lora-scale once, or once a LoRA")
    origins = [origin(Path(path)) for path in loras]
    for path, made in zip(loras, origins, strict=True):
        check(model, made, str(path))
    found = [read(Path(path), model.net) for path in loras]
    model.words = model.words and model.words.also(made.trigger for made in origins)
    return [
        f"{path}: {merge(model.net, lora, weight, str(path))} weights changed, at {weight:g}"
        for path, lora, weight in zip(loras, found, weights, strict=True)
    ]


def tuned(folder: Path, name: str, device: str, precision: str) -> Model:
    """What `sfumato tune` left in a folder, or any PEFT folder that names its base, as a model. Raises UserError."""
    from sfumato.models.zoo import load

    try:
        base = json.loads((folder / CONFIG).read_text("utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / CONFIG} does not name the base that was changed") from error
    model = load(str(base), device, precision)
    apply(model, [folder], [])
    model.name = name
    return model


def unfinished(config: dict[str, Any], weights: Path, name: str, device: str, precision: str) -> Model:
    """A checkpoint of a tuning, with the LoRA as it was then. Raises UserError."""
    from sfumato.models.zoo import load

    recipe = Recipe.model_validate(config["recipe"])
    model = load(recipe.tune.base, device, precision)
    if not isinstance(model, LatentModel) or not isinstance(model.net, TextNet):
        raise UserError(f"{recipe.tune.base} is not a text-to-image model: a LoRA cannot change it")
    thing = str(config.get("thing", ""))
    check(model, Origin.of(Identity.from_json(config.get("base")), recipe.tune.base, thing), str(weights.parent))
    attach(model.net, shape_of(recipe.tune))
    try:
        Adapter(model.net).load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise UserError(f"{weights} is no LoRA for {recipe.tune.base}: the base has changed") from error
    model.words = model.words and model.words.also([thing])
    model.name = name
    return model
