"""A base with the LoRA of a tuning as one model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file

from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.lora.adapter import Adapter, Shape, attach
from sfumato.lora.apply import over
from sfumato.lora.formats import CONFIG
from sfumato.lora.origin import Origin, check
from sfumato.models.identity import Identity
from sfumato.models.latent import latent_of
from sfumato.models.model import Model
from sfumato.recipe.recipe import Recipe


def base_of(folder: Path) -> str:
    """The base that PEFT's folder names. Raises UserError if it names none."""
    try:
        return str(json.loads((folder / CONFIG).read_text("utf-8"))["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / CONFIG} does not name the base that was changed") from error


def finished(folder: Path, base: Model, name: str) -> Model:
    """The result of `sfumato tune`, or any PEFT folder, added to its base. Raises UserError."""
    return replace(over(base, [(folder, 1.0)])[0], name=name)


def base_of_run(config: Json, folder: Path) -> str:
    """The base of a tuning by its checkpoint's configuration. Raises UserError if that is damaged."""
    try:
        return Recipe.model_validate(config["recipe"]).tune.base
    except (ValueError, KeyError) as error:
        raise UserError(f"{folder / 'config.json'} does not describe a model") from error


def unfinished(config: Json, weights: Path, base: Model, name: str) -> Model:
    """A checkpoint of a tuning: its base with the LoRA of that step. Raises UserError."""
    tune = Recipe.model_validate(config["recipe"]).tune
    model = latent_of(base)
    thing = str(config.get("thing", ""))
    check(model, Origin.of(Identity.from_json(config.get("base")), tune.base, thing), str(weights.parent))
    attach(model.net, Shape.of(tune))
    try:
        Adapter(model.net).load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise UserError(f"{weights} is no LoRA for {tune.base}: the base has changed") from error
    model.words = model.words and model.words.also([thing])
    model.name = name
    return model
