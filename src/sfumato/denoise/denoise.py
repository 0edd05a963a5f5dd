"""The verb `denoise`: pictures of any size and kind, cleaned at the level they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sfumato.denoise import noise as noises
from sfumato.denoise.arrays import take
from sfumato.denoise.posterior import STEPS, posterior
from sfumato.denoise.tiles import TILE, Tiled
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level
from sfumato.diffusion.saturation import unclipped
from sfumato.errors import UserError
from sfumato.pictures.vocabulary import CLIPPED, NOISE, PURE

if TYPE_CHECKING:
    from sfumato.model import Model

LARGEST = 2**20  # pixels that a model without a known reach takes at once
LOW, HIGH = 1e-3, 2.0  # noise in [-1, 1] scale that a gauge is believed
Told = Callable[[int, int], None]


def denoise(
    model: Model,
    picture: Any,
    sigma: float | np.ndarray | Tensor | None = None,
    *,
    strength: float = 1.0,
    samples: int = 0,
    steps: int = STEPS,
    seed: int = 0,
    clipped: bool | None = None,
    tile: int = TILE,
    told: Told | None = None,
) -> Any:
    """Clean a picture or a batch; gives the same kind of thing.

    picture: see `arrays.take`; sigma: the noise's standard deviation where white is 1, a number in [0, 1], one a
    picture (N,), a map (H, W) or (N, H, W), or None to estimate it; strength: denoise as if the noise were strength *
    sigma; samples: 0 gives the expected picture, K a list of K pictures that it may have been, drawn with `seed`;
    clipped: the noise was cut to the picture's range (left out: if the values are whole numbers, or none lies outside
    [0, 1]). Raises UserError.
    """
    taken = take(picture)
    y = taken.x.to(model.device)
    if samples < 0 or not 0 <= strength <= 1:
        raise UserError(f"samples={samples}, strength={strength:g}: samples is 0 or more, strength between 0 and 1")
    if clipped is None:
        clipped = taken.whole or bool(y.abs().max() <= 1)
    grey = y.shape[1] == 1 and model.shape[0] == 3
    if not grey and y.shape[1] != model.shape[0]:
        raise UserError(f"{model.name} cleans pictures of {model.shape[0]} channels, not {y.shape[1]}")
    level = level_of(sigma, y) if sigma is not None else estimated(model, y)
    level = Level.of(level.sigma * strength)
    if not float(level.sigma.max()):
        return [picture] * samples if samples else picture
    level = Level.of(level.sigma.clamp_min(1e-4))
    whole = anysize(model, y, tile, told)
    run = greyed(whole) if grey else whole
    with torch.inference_mode():
        if not samples:
            return taken.back(best(model, run, y, level, clipped).clamp_(-1, 1))
        drawn = _drawn(model, run, y, level, clipped, samples, steps, seed)
        return [taken.back(each.clamp_(-1, 1)) for each in drawn]


def level_of(sigma: float | np.ndarray | Tensor, y: Tensor) -> Level:
    """A level in [-1, 1] scale from sigma where white is 1. Raises UserError on values or shapes that make no sense."""
    s = torch.as_tensor(sigma, dtype=torch.float64).cpu()
    if not s.isfinite().all() or float(s.min()) < 0 or float(s.max()) > 1:
        raise UserError("sigma is the noise's standard deviation where white is 1: between 0 and 1")
    n, _, height, width = y.shape
    if s.shape in ((height, width), (n, height, width)):
        s = s.reshape(-1, 1, height, width).expand(n, 1, height, width)
    elif s.shape not in ((), (1,), (n,)):
        raise UserError(
            f"sigma of shape {tuple(s.shape)} for {n} pictures of {height} x {width}: give a number, one a picture, or "
            "a map of the picture's size"
        )
    return Level.of(2 * (s.reshape(()) if s.shape == (1,) else s))


def estimated(model: Model, y: Tensor) -> Level:
    """One level a picture, as the model's gauge reads it, or `noise.estimate`."""
    if getattr(model.net, "gauge", None) is not None and y.shape[1] == model.shape[0]:
        with torch.inference_mode():
            return gauged(model, y)
    found = [noises.estimate((x.permute(1, 2, 0).cpu().numpy() + 1) / 2).sigma for x in y]
    return Level.of(2 * torch.tensor(found, dtype=torch.float64))


def anysize(model: Model, y: Tensor, tile: int = TILE, told: Told | None = None) -> Denoiser:
    """The model's denoiser for pictures of any size. Raises UserError if it was not made for that."""
    config: Any = model.net.config
    reach = getattr(config, "reach", None)
    if reach is not None:
        return Tiled(model.denoiser, reach, config.multiple, tile, told)
    height, width = y.shape[-2:]
    if height * width > LARGEST:
        raise UserError(
            f"{model.name} was made for small pictures, not {width} x {height}: use one that was trained "
            "on pieces of large ones, as the recipe photo"
        )
    return Tiled(model.denoiser, 0, config.multiple, max(height, width), told)


def greyed(denoiser: Denoiser) -> Denoiser:
    """A denoiser of colour pictures for grey ones."""

    def run(x: Tensor, level: Level, cond: Tensor | None = None) -> Tensor:
        return denoiser(x.expand(-1, 3, -1, -1), level, cond).mean(1, keepdim=True)

    return run


def best(model: Model, run: Denoiser, y: Tensor, level: Level, clipped: bool, correct: bool = True) -> Tensor:
    """The expected clean picture: one call, or two if the noise is clipped and the model knows pure noise alone.

    correct: make that second call.
    """
    if knows_clipping(model):
        return run(y, level, tell(model, clipped, y))
    if clipped and correct and not model.recipe.noise.clipped:
        y = unclipped(run(y, level), y, level)
    return run(y, level)


def _drawn(
    model: Model, run: Denoiser, y: Tensor, level: Level, clipped: bool, k: int, steps: int, seed: int
) -> list[Tensor]:
    """k posterior samples."""
    if level.sigma.ndim == 4 or (level.sigma.ndim and len(set(level.sigma.tolist())) > 1):
        raise UserError("samples need one sigma for all pictures: give a number")
    if clipped:
        y = unclipped(run(y, level, tell(model, True, y)), y, level)
    sigma = float(level.sigma.reshape(-1)[0])

    def fresh(j: int) -> Callable[[], Tensor]:
        own = torch.Generator().manual_seed((seed + j) % 2**64)
        return lambda: torch.randn(y.shape, generator=own).to(y)

    return list(posterior(run, y, sigma, k, steps=steps, cond=tell(model, False, y), noise=fresh))


def gauged(model: Model, y: Tensor) -> Level:
    """The level of each picture as the model's own gauge reads it. Raises UserError if it has none."""
    gauge = getattr(model.net, "gauge", None)
    if gauge is None:
        raise UserError(f"{model.name} does not read the noise level from a picture: tell it")
    return Level.of(gauge(y).double().exp().clamp(LOW, HIGH).cpu())


def knows_clipping(model: Model) -> bool:
    """Whether the model was trained on pure and clipped noise, and is told which it is."""
    return model.vocabulary == NOISE


def tell(model: Model, clipped: bool, y: Tensor) -> Tensor | None:
    return model.tell([CLIPPED if clipped else PURE], len(y)) if knows_clipping(model) else None
