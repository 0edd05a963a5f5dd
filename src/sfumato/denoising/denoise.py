"""The verb `denoise`: pictures of any size and kind, cleaned at the level they have."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from sfumato.denoising.arrays import P, Taken, take
from sfumato.denoising.cleaner import Cleaner
from sfumato.denoising.levels import estimated
from sfumato.denoising.posterior import STEPS, posterior
from sfumato.denoising.tiles import TILE, Tiled
from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level
from sfumato.diffusion.saturation import unclipped
from sfumato.errors import UserError

LARGEST = 2**20  # pixels that a model without a known reach takes at once
LEAST = 1e-4  # of the noise in [-1, 1] scale that a network is told
SATURATED = 0.002  # share of values at black or white from which noise counts as cut off
Told = Callable[[int, int], None]
Sigma: TypeAlias = float | np.ndarray | Tensor | None


@dataclass(frozen=True)
class Cleaning:
    """How a picture is cleaned.

    strength: as if the noise were strength * sigma, 0 to 1; clipped: the noise was cut to the picture's range (None: if
    no value lies outside of it and some lie at its ends); mirror: average with the mirrored picture's answer, see
    `mirrored`; tile: side of the tiles of a large picture, in pixels; told: called with (done, total) tiles.
    """

    strength: float = 1.0
    clipped: bool | None = None
    mirror: bool = False
    tile: int = TILE
    told: Told | None = None


def denoise(cleaner: Cleaner, picture: P, sigma: Sigma = None, cleaning: Cleaning = Cleaning()) -> P:
    """The expected clean picture, or a batch of them; gives the same kind of thing.

    picture: see `arrays.take`; sigma: the noise's standard deviation where white is 1, a number in [0, 1], one a
    picture (N,), a map (H, W) or (N, H, W), or None to estimate it. Raises UserError.
    """
    taken, ready = _prepared(cleaner, picture, sigma, cleaning)
    if ready is None:
        return copy.deepcopy(picture)
    with torch.no_grad():
        return taken.back(best(cleaner, ready.run, ready.y, ready.level, ready.clipped).clamp_(-1, 1))


def posterior_samples(
    cleaner: Cleaner,
    picture: P,
    count: int,
    sigma: Sigma = None,
    cleaning: Cleaning = Cleaning(),
    steps: int = STEPS,
    seed: int = 0,
) -> list[P]:
    """As `denoise`, but `count` pictures that the clean one may have been, drawn with `seed` in `steps` steps."""
    if count < 1:
        raise UserError(f"samples={count}: draw one or more")
    taken, ready = _prepared(cleaner, picture, sigma, cleaning)
    if ready is None:
        return [copy.deepcopy(picture) for _ in range(count)]
    with torch.no_grad():
        drawn = _drawn(cleaner, ready, count, steps, seed)
        return [taken.back(each.clamp_(-1, 1)) for each in drawn]


@dataclass(frozen=True)
class _Ready:
    """What is left to do: a denoiser for pictures y of that size, (N, C, H, W) in [-1, 1] scale, and their level."""

    run: Denoiser
    y: Tensor
    level: Level
    clipped: bool


def _prepared(cleaner: Cleaner, picture: P, sigma: Sigma, how: Cleaning) -> tuple[Taken[P], _Ready | None]:
    """None in place of what is to do if there is no noise."""
    taken = take(picture)
    y = taken.x.to(cleaner.device)
    if not 0 <= how.strength <= 1:
        raise UserError(f"strength={how.strength:g}: give a strength between 0 and 1")
    clipped = cut_off(y) if how.clipped is None else how.clipped
    grey = y.shape[1] == 1 and cleaner.channels == 3
    if not grey and y.shape[1] != cleaner.channels:
        raise UserError(f"{cleaner.name} cleans pictures of {cleaner.channels} channels, not {y.shape[1]}")
    level = level_of(sigma, y) if sigma is not None else estimated(cleaner, y)
    level = Level.of(level.sigma * how.strength)
    if not float(level.sigma.max()):
        return taken, None
    level = Level.of(level.sigma.clamp_min(LEAST))
    whole = anysize(cleaner, y, how.tile, how.told)
    if level.sigma.ndim == 4 and cleaner.reach is None:
        raise UserError(f"{cleaner.name} knows one level for a whole picture: give sigma as a number, or use photo")
    run = greyed(whole) if grey else whole
    return taken, _Ready(mirrored(run) if how.mirror else run, y, level, clipped)


def level_of(sigma: float | np.ndarray | Tensor, y: Tensor) -> Level:
    """A level in [-1, 1] scale from sigma where white is 1. Raises UserError on values or shapes that make no sense."""
    try:
        s = torch.as_tensor(sigma, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"sigma={sigma!r} is no number, numbers or map; leave it out to have it estimated") from error
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


def cut_off(y: Tensor) -> bool:
    """Whether values in [-1, 1] scale end at black and white, and a share of SATURATED or more lies there."""
    size = y.abs()
    return bool(size.max() <= 1) and float((size == 1).float().mean()) >= SATURATED


def anysize(cleaner: Cleaner, y: Tensor, tile: int = TILE, told: Told | None = None) -> Denoiser:
    """Its denoiser for pictures of any size. Raises UserError if it was not made for that."""
    if cleaner.reach is not None:
        return Tiled(cleaner.denoiser, cleaner.reach, cleaner.multiple, tile, told)
    height, width = y.shape[-2:]
    if height * width > LARGEST:
        raise UserError(
            f"{cleaner.name} was made for small pictures, not {width} x {height}: use one that was trained "
            "on pieces of large ones, as the recipe photo"
        )
    return Tiled(cleaner.denoiser, 0, cleaner.multiple, max(height, width), told)


def greyed(denoiser: Denoiser) -> Denoiser:
    """A denoiser of colour pictures for grey ones."""

    def run(x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        return denoiser(x.expand(-1, 3, -1, -1), level, cond).mean(1, keepdim=True)

    return run


def mirrored(denoiser: Denoiser) -> Denoiser:
    """The mean of what is said of a picture and of its mirror image (Timofte et al. 2016, section 3.6).

    Where left and right are alike in the data, so is the expected picture, and what a network says otherwise is error.
    """

    def run(x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        other = Level(*(s.flip(3) if s.ndim == 4 else s for s in (level.alpha, level.sigma)))
        return (denoiser(x, level, cond) + denoiser(x.flip(3), other, cond).flip(3)) / 2

    return run


def best(cleaner: Cleaner, run: Denoiser, y: Tensor, level: Level, clipped: bool, correct: bool = True) -> Tensor:
    """The expected clean picture: one call, or two if the noise is clipped and it knows pure noise alone.

    correct: make that second call.
    """
    if cleaner.clipping == "told":
        return run(y, level, cleaner.condition(clipped, len(y)))
    if clipped and correct and cleaner.clipping == "unknown":
        y = unclipped(run(y, level), y, level)
    return run(y, level)


def _drawn(cleaner: Cleaner, ready: _Ready, k: int, steps: int, seed: int) -> list[Tensor]:
    """k posterior samples; pictures of different levels one after the other."""
    run, y, level = ready.run, ready.y, ready.level
    if level.sigma.ndim == 4:
        raise UserError("samples need one sigma a picture: give a number")
    sigmas = level.sigma.reshape(-1).expand(len(y)).tolist()
    if len(set(sigmas)) > 1:
        rows = [
            _drawn(cleaner, replace(ready, y=y[j : j + 1], level=Level.of(sigma)), k, steps, seed + j)
            for j, sigma in enumerate(sigmas)
        ]
        return [torch.cat(each) for each in zip(*rows, strict=True)]
    if ready.clipped:
        y = unclipped(run(y, level, cleaner.condition(True, len(y))), y, level)
    known = cleaner.condition(False, len(y))

    def one(j: int) -> Tensor:
        own = torch.Generator().manual_seed((seed + j) % 2**64)

        def fresh() -> Tensor:
            return torch.randn(y.shape, generator=own).to(y)

        return posterior(run, y, sigmas[0], 1, steps=steps, cond=known, noise=lambda _: fresh)[0]

    return [one(j) for j in range(k)]
