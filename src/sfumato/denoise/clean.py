"""One call of the denoiser at a picture's own noise level, which gives the expected clean picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sfumato.denoise.saturation import CLIPPED, PURE, VOCABULARY, corrected
from sfumato.diffusion.level import Level
from sfumato.errors import UserError

if TYPE_CHECKING:
    from sfumato.model import Model

LOW, HIGH = 1e-3, 10.0
"""The noise, in [-1, 1] scale, between which a gauge's reading is believed."""


def knows_clipping(model: Model) -> bool:
    """Whether the model was trained on clipped noise too, and is told of it."""
    return model.vocabulary == VOCABULARY


def clean(model: Model, y: Tensor, sigma: float | Tensor | None, clipped: bool = False, correct: bool = True) -> Tensor:
    """The expected clean pictures in noisy ones, (N, C, H, W) in [-1, 1].

    y: (N, C, H, W) in [-1, 1] scale, clipped there or not; sigma: the noise's standard deviation in that scale, a
    number, one a picture (N,), a map (N, 1, H, W), or None to read it from the picture; clipped: the noise was cut to
    the pictures' range, as in files; correct: a model that knows pure noise alone makes up for that with one extra
    call. Raises UserError if the model reads no level, or knows no maps.
    """
    if sigma is None:
        sigma = gauged(model, y)
    level = Level.of(torch.as_tensor(sigma, dtype=torch.float64).cpu())
    if level.sigma.ndim == 4 and model.recipe.net.kind != "plain":
        raise UserError(f"{model.name} takes one sigma a picture, not a map: give a number, or another --model")
    told = model.tell([CLIPPED if clipped else PURE], len(y)) if knows_clipping(model) else None
    with torch.inference_mode():
        if clipped and correct and told is None and not model.recipe.noise.clipped:
            return corrected(model.denoiser, y, level).clamp(-1, 1)
        return model.denoiser(y, level, told).clamp(-1, 1)


def gauged(model: Model, y: Tensor) -> Tensor:
    """The noise of each picture, (N,) in [-1, 1] scale, as the model reads it. Raises UserError if it cannot."""
    gauge = getattr(model.net, "gauge", None)
    if gauge is None:
        raise UserError(f"{model.name} does not read the noise level from a picture: give --sigma")
    with torch.inference_mode():
        return gauge(y).double().exp().clamp(LOW, HIGH)
