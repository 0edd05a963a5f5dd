"""The verb `denoise`: cleans pictures of any size and type, at their own noise level."""

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

LARGEST = 2**20  # most pixels of a picture for a model without a known reach, which cannot use tiles
LEAST = 1e-4  # lowest sigma in [-1, 1] scale that is given to a network
SATURATED = 0.002  # share of values at black or white from which noise counts as clipped
OnTile = Callable[[int, int], None]
Sigma: TypeAlias = float | np.ndarray | Tensor | None


@dataclass(frozen=True)
class Cleaning:
    """Settings of cleaning.

    strength: the denoiser is given strength * sigma, 0 to 1; clipped: the noisy picture was clipped to its range (None:
    decided by its values, see `cut_off`); mirror: average with the result for the mirrored picture, see `mirrored`;
    tile: side of the tiles of a large picture, in pixels; on_tile: callback with the numbers of tiles done and in all.
    """

    strength: float = 1.0
    clipped: bool | None = None
    mirror: bool = False
    tile: int = TILE
    on_tile: OnTile | None = None


def denoise(cleaner: Cleaner, picture: P, sigma: Sigma = None, cleaning: Cleaning = Cleaning()) -> P:
    """The expected clean picture, or a batch of them, in the form of the given one.

    picture: see `arrays.take`; sigma: the noise's standard deviation where white is 1, a number in [0, 1], one for each
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
    """As `denoise`, but `count` possible clean pictures, sampled from the posterior with `seed` in `steps` steps."""
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
    """A denoising that is ready to run: pictures y, (N, C, H, W) in [-1, 1] scale, their level, and a denoiser."""

    run: Denoiser
    y: Tensor
    level: Level
    clipped: bool


def _prepared(cleaner: Cleaner, picture: P, sigma: Sigma, how: Cleaning) -> tuple[Taken[P], _Ready | None]:
    """The picture as a tensor and the denoising to run, None without noise."""
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
    whole = anysize(cleaner, y, how.tile, how.on_tile)
    if level.sigma.ndim == 4 and cleaner.reach is None:
        raise UserError(f"{cleaner.name} takes one level for a whole picture: give sigma as a number, or use photo")
    run = greyed(whole) if grey else whole
    return taken, _Ready(mirrored(run) if how.mirror else run, y, level, clipped)


def level_of(sigma: float | np.ndarray | Tensor, y: Tensor) -> Level:
    """A level in [-1, 1] scale from sigma where white is 1. Raises UserError on invalid values or shapes."""
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
    """Whether no value in [-1, 1] scale is outside of the range, and a share of SATURATED or more is at its ends."""
    size = y.abs()
    return bool(size.max() <= 1) and float((size == 1).float().mean()) >= SATURATED


def anysize(cleaner: Cleaner, y: Tensor, tile: int = TILE, on_tile: OnTile | None = None) -> Denoiser:
    """The cleaner's denoiser for pictures of any size. Raises UserError if it cannot process the size of y."""
    if cleaner.reach is not None:
        return Tiled(cleaner.denoiser, cleaner.reach, cleaner.multiple, tile, on_tile)
    height, width = y.shape[-2:]
    if height * width > LARGEST:
        raise UserError(
            f"{cleaner.name} is for small pictures, not {width} x {height}: use a model that was trained on pieces of "
            "large ones, such as photo"
        )
    return Tiled(cleaner.denoiser, 0, cleaner.multiple, max(height, width), on_tile)


def greyed(denoiser: Denoiser) -> Denoiser:
    """A denoiser of colour pictures as one of grey pictures."""

    def run(x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        return denoiser(x.expand(-1, 3, -1, -1), level, cond).mean(1, keepdim=True)

    return run


def mirrored(denoiser: Denoiser) -> Denoiser:
    """The mean of the outputs for a picture and for its mirror image (Timofte et al. 2016, section 3.6).

    If the data has no preference of left or right, the true expected pictures of both are mirror images of each other,
    and the difference of the outputs is error, which the mean reduces.
    """

    def run(x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        other = Level(*(s.flip(3) if s.ndim == 4 else s for s in (level.alpha, level.sigma)))
        return (denoiser(x, level, cond) + denoiser(x.flip(3), other, cond).flip(3)) / 2

    return run


def best(cleaner: Cleaner, run: Denoiser, y: Tensor, level: Level, clipped: bool, correct: bool = True) -> Tensor:
    """The expected clean picture, by one call of the denoiser; two calls for clipped noise if it was trained without.

    correct: allow the second call, which corrects the picture for the clipping.
    """
    if cleaner.clipping == "condition":
        return run(y, level, cleaner.condition(clipped, len(y)))
    if clipped and correct and cleaner.clipping == "untrained":
        y = unclipped(run(y, level), y, level)
    return run(y, level)


def _drawn(cleaner: Cleaner, ready: _Ready, k: int, steps: int, seed: int) -> list[Tensor]:
    """k posterior samples; pictures of different levels are sampled one after the other."""
    run, y, level = ready.run, ready.y, ready.level
    if level.sigma.ndim == 4:
        raise UserError("samples need one sigma for each picture, not a map: give a number")
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
