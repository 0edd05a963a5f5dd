"""Starting a training from the weights of a model (`train.begin`), and resuming a run."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sfumato.errors import UserError
from sfumato.models import names
from sfumato.recipe.recipe import Recipe
from sfumato.runs import checkpoint

if TYPE_CHECKING:
    from sfumato.models.model import Model

ROUNDED, ALMOST_0 = 1e-2, 1e-5  # relative and absolute tolerance for weights that were stored in 16 bits
ENCODER = ("encoder.", "quant_conv.")  # the part of an autoencoder that determines the latents


def check_begin(recipe: Recipe) -> None:
    """Raises UserError if there is no model of a name that a new training starts from; opens none."""
    own = {"text": ("text.autoencoder", recipe.text.autoencoder), "autoencoder": ("net.encoder", recipe.net.encoder)}
    for key, name in (("train.begin", recipe.train.begin), own.get(recipe.task, ("", ""))):
        try:
            if name:
                names.check(name)
        except UserError as error:
            raise UserError(f"{key}: {error}") from error


def model_named(name: str) -> Model | None:
    """The model of `train.begin`, with fp32 weights on the CPU; None for "". Raises UserError."""
    from sfumato.zoo import load

    if not name:
        return None
    try:
        return load(name, "cpu", "fp32")
    except UserError as error:
        raise UserError(f"train.begin: {error}") from error


def take_over(net: nn.Module, recipe: Recipe) -> None:
    """Copy the weights of the model of `train.begin`, if it is set, into the trainable part of a network.

    Raises UserError naming the first difference in shape.
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
                f"{_shown(shapes[0])} here; use the net settings of that model, or leave train.begin out"
            )
    for key in own.keys() - kept:
        own[key].copy_(given[key])


def _weights(recipe: Recipe) -> dict[str, Tensor] | None:
    """The weights, with their names in the task's network."""
    if recipe.task == "autoencoder" and recipe.train.begin:
        from sfumato.training.latents import autoencoder_named

        vae = autoencoder_named(recipe.train.begin, "train.begin")
        return {f"vae.{key}": value for key, value in vae.state_dict().items()}
    model = model_named(recipe.train.begin)
    return None if model is None else model.net.state_dict()


def check_latents(vae: nn.Module, given: nn.Module, recipe: Recipe) -> None:
    """Raises UserError if the model of `train.begin` was trained on the latents of another autoencoder.

    vae: of `text.autoencoder`; given: of `train.begin`. Decoders may differ.
    """
    own, other = ({k: v for k, v in each.state_dict().items() if k.startswith(ENCODER)} for each in (vae, given))
    alike = own.keys() == other.keys() and all(_close(own[key], other[key]) for key in own)
    if not alike:
        raise UserError(
            f"train.begin={recipe.train.begin} was trained on other latents than those of "
            f"text.autoencoder={recipe.text.autoencoder}: set text.autoencoder={recipe.train.begin}"
        )


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.cpu().float(), b.cpu().float(), ROUNDED, ALMOST_0)


def has_begun(run: Path, task: str) -> bool:
    """Whether a folder has a complete checkpoint of a task."""
    newest, _ = checkpoint.newest(run / "checkpoints")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if newest is not None:
            known: str = json.loads((newest.path / "config.json").read_text("utf-8"))["recipe"]["task"]
            return known == task
    return False


def standing_on(run: Path, recipe: Recipe) -> Recipe:
    """The recipe of a resumed run, with autoencoder, encoder and tokenizer taken from its own checkpoint.

    The models that it started from may have been changed or deleted.
    """
    if recipe.task == "text":
        return recipe.with_({"text.autoencoder": str(run), "train.begin": str(run)})
    return recipe.with_({"net.encoder": str(run)}) if recipe.net.encoder else recipe


def _shown(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "a number"
