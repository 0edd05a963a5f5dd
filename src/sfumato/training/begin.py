"""A training that begins with the weights of a model, or goes on with a run: what is not learned anew."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sfumato.errors import UserError
from sfumato.recipe.recipe import Recipe
from sfumato.runs import checkpoint

if TYPE_CHECKING:
    from sfumato.models.model import Model

ROUNDED, ALMOST_0 = 1e-2, 1e-5  # relative and absolute difference of weights that were kept in 16 bits
ENCODER = ("encoder.", "quant_conv.")  # what makes an autoencoder's latents


def model_named(name: str) -> Model | None:
    """The model that `train.begin` names, with fp32 weights on the CPU; None for "". Raises UserError."""
    from sfumato.zoo import load

    if not name:
        return None
    try:
        return load(name, "cpu", "fp32")
    except UserError as error:
        raise UserError(f"train.begin: {error}") from error


def take_over(net: nn.Module, recipe: Recipe) -> None:
    """Copy the weights of the model that `train.begin` names, if it names one, into all of a network that learns.

    Raises UserError naming what differs in shape.
    """
    given = _weights(recipe)
    if given is None:
        return
    own = net.state_dict()
    kept = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    for key in sorted({*own, *given} - kept):
        shapes = [tuple(state[key].shape) if key in state else None for state in (own, given)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"train.begin={recipe.train.begin} is another network: {key} is {_shown(shapes[1])} there and "
                f"{_shown(shapes[0])} here; use its net settings, or leave train.begin out"
            )
    for key in own.keys() - kept:
        own[key].copy_(given[key])


def _weights(recipe: Recipe) -> dict[str, Tensor] | None:
    """By the names that they have in the task's network."""
    if recipe.task == "autoencoder" and recipe.train.begin:
        from sfumato.training.latents import autoencoder_named

        vae = autoencoder_named(recipe.train.begin, "train.begin")
        return {f"vae.{key}": value for key, value in vae.state_dict().items()}
    model = model_named(recipe.train.begin)
    return None if model is None else model.net.state_dict()


def check_latents(vae: nn.Module, given: nn.Module, recipe: Recipe) -> None:
    """Raises UserError if a model that a training begins with was made for the latents of another autoencoder.

    vae: of `text.autoencoder`; given: of `train.begin`. Decoders may differ.
    """
    own, other = ({k: v for k, v in each.state_dict().items() if k.startswith(ENCODER)} for each in (vae, given))
    alike = own.keys() == other.keys() and all(_close(own[key], other[key]) for key in own)
    if not alike:
        raise UserError(
            f"train.begin={recipe.train.begin} learned on other latents than those of "
            f"text.autoencoder={recipe.text.autoencoder}: set text.autoencoder={recipe.train.begin}"
        )


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.cpu().float(), b.cpu().float(), ROUNDED, ALMOST_0)


def has_begun(run: Path, task: str) -> bool:
    """Whether a folder holds a whole checkpoint of a task."""
    found, _ = checkpoint.newest(run / "checkpoints")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if found is not None:
            known: str = json.loads((found.path / "config.json").read_text("utf-8"))["recipe"]["task"]
            return known == task
    return False


def standing_on(run: Path, recipe: Recipe) -> Recipe:
    """The recipe of a run that goes on, whose autoencoder, encoder and tokenizer are those of its own checkpoint.

    What it began with may be gone or have changed since.
    """
    if recipe.task == "text":
        return recipe.with_({"text.autoencoder": str(run), "train.begin": str(run)})
    return recipe.with_({"net.encoder": str(run)}) if recipe.net.encoder else recipe


def _shown(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "a number"
