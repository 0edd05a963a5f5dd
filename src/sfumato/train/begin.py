"""A training that begins with the weights of a model, not from nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from sfumato.errors import UserError

if TYPE_CHECKING:
    from sfumato.model import Model

KEPT = "vae."  # an autoencoder comes from `text.autoencoder`


def model_named(name: str) -> Model | None:
    """The model that `train.begin` names, with fp32 weights on the CPU; None for "". Raises UserError."""
    from sfumato.zoo import load

    if not name:
        return None
    try:
        return load(name, "cpu", "fp32")
    except UserError as error:
        raise UserError(f"train.begin: {error}") from error


def take_over(net: nn.Module, model: Model) -> None:
    """Copy the weights of a model into a network of the same shape. Raises UserError naming what differs."""
    own, given = net.state_dict(), model.net.state_dict()
    learned = [key for key in own if not key.startswith(KEPT)]
    for key in sorted({*learned, *(key for key in given if not key.startswith(KEPT))}):
        shapes = [tuple(state[key].shape) if key in state else None for state in (own, given)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"train.begin={model.name} is another network: {key} is {_shown(shapes[1])} there and "
                f"{_shown(shapes[0])} here; use its net settings, or leave train.begin out"
            )
    for key in learned:
        own[key].copy_(given[key])


def _shown(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "a number"
