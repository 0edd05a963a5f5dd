"""Checkpoints of the tasks `text` and `autoencoder`: writing their config.json, and reading models from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sfumato.diffusion.schedule import Discrete
from sfumato.errors import UserError
from sfumato.files import Facts, Json
from sfumato.models.assembly import assembled
from sfumato.models.identity import Identity
from sfumato.models.latent import LatentModel
from sfumato.models.named import schedule_of
from sfumato.models.registry import INDEX
from sfumato.models.sd.family import SD
from sfumato.models.sd.networks import TextNet
from sfumato.models.words import Words
from sfumato.recipe.recipe import Recipe


def describe(model: LatentModel) -> Json:
    """The model as JSON, without its weights."""
    net = cast(TextNet, model.net)
    tokenizer = json.loads(model.tokenizers[0].backend_tokenizer.to_str())["model"]
    return {
        "shape": list(model.shape),
        "vocabulary": model.vocabulary.to_json(),
        "vae": plain(model.autoencoder.config),
        "unet": plain(net.unet.config),
        "text": net.text.config.to_dict(),
        "tokenizer": {"vocab": tokenizer["vocab"], "merges": tokenizer["merges"], "length": model.vocabulary.length},
        **({"words": model.words.to_json()} if model.words else {}),
    }


def restored(config: Json, weights: Path, name: str, device: str, precision: str) -> LatentModel:
    """A model from the JSON of `describe` and a file of weights. Raises UserError if they do not fit together."""
    recipe = Recipe.model_validate(config["recipe"])
    schedule = schedule_of(recipe.noise)
    if not isinstance(schedule, Discrete):
        raise UserError(f"{weights.parent / 'config.json'}: noise.schedule {recipe.noise.schedule} is not of timesteps")
    unet = UNet2DConditionModel.from_config(plain(config["unet"]))
    vae = AutoencoderKL.from_config(plain(config["vae"]))
    text = CLIPTextModel(CLIPTextConfig(**config["text"]))
    tokens = config["tokenizer"]
    merges = [tuple(pair) for pair in tokens["merges"]]
    tokenizer = CLIPTokenizer(tokens["vocab"], merges, model_max_length=tokens["length"])
    state = load_file(weights)
    for part, module in (("unet", unet), ("vae", vae), ("text", text)):
        _fill(module, state, part, weights)
    return assembled(
        TextNet(unet, text, schedule), vae, [tokenizer], SD, name, device, precision, schedule=schedule,
        prediction=recipe.noise.prediction, defaults=recipe.sample, source=recipe.data.source, recipe=recipe,
        words=Words.from_json(config["words"], str(weights.parent / "config.json")) if "words" in config else None,
        identity=Identity.of(recipe.name or name, weights),
    )  # fmt: skip


def autoencoder_of(folder: Path, weights: str) -> AutoencoderKL:
    """The autoencoder of a checkpoint of either task, or of a pipeline folder. Raises UserError if it has none."""
    if (folder / INDEX).is_file():
        found: AutoencoderKL = AutoencoderKL.from_pretrained(
            folder / "vae", use_safetensors=True, local_files_only=True
        )
        return found.float()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if "vae" not in config:
        raise UserError(f"{folder} has no autoencoder: name a run of the task autoencoder")
    made: AutoencoderKL = AutoencoderKL.from_config(plain(config["vae"]))
    _fill(made, load_file(folder / weights), "vae", folder / weights)
    return made


def plain(config: Facts) -> Json:
    """A configuration of diffusers without its private keys, such as the path it was read from."""
    return {key: value for key, value in config.items() if not key.startswith("_")}


def _fill(module: torch.nn.Module, state: dict[str, Tensor], part: str, weights: Path) -> None:
    own = {key.removeprefix(f"{part}."): value.float() for key, value in state.items() if key.startswith(f"{part}.")}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{weights} does not hold this model's weights ({reason})") from error
