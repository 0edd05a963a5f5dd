"""The verb `denoise`: pictures of any size and kind, cleaned at the level they have."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.denoising.arrays import take
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


def denoise(
    cleaner: Cleaner,
    picture: Any,
    sigma: float | np.ndarray | Tensor | None = None,
    *,
    strength: float = 1.0,
    samples: int = 0,
    steps: int = STEPS,
    seed: int = 0,
    clipped: bool | None = None,
    mirror: bool = False,
    tile: int = TILE,
    told: Told | None = None,
) -> Any:
    """Clean a picture or a batch; gives the same kind of thing.

    picture: see `arrays.take`; sigma: the noise's standard deviation where white is 1, a number in [0, 1], one a
    picture (N,), a map (H, W) or (N, H, W), or None to estimate it; strength: denoise as if the noise were strength *
    sigma; samples: 0 gives the expected picture, K a list of K pictures that it may have been, drawn with `seed`;
    clipped: the noise was cut to the picture's range (left out: if no value lies outside of it and some lie at its
    ends); mirror: average with the mirrored picture's answer, see `mirrored`. Raises UserError.
    """
    taken = take(picture)
    y = taken.x.to(cleaner.device)
    if samples < 0 or not 0 <= strength <= 1:
        raise UserError(f"samples={samples}, strength={strength:g}: samples is 0 or more, strength between 0 and 1")
    if clipped is None:
        clipped = cut_off(y)
    grey = y.shape[1] == 1 and cleaner.channels == 3
    if not grey and y.shape[1] != cleaner.channels:
        raise UserError(f"{cleaner.name} cleans pictures of {cleaner.channels} channels, not {y.shape[1]}")
    level = level_of(sigma, y) if sigma is not None else estimated(cleaner, y)
    level = Level.of(level.sigma * strength)
    if not float(level.sigma.max()):
        return [copy.deepcopy(picture) for _ in range(samples)] if samples else copy.deepcopy(picture)
    level = Level.of(level.sigma.clamp_min(LEAST))
    whole = anysize(cleaner, y, tile, told)
    if level.sigma.ndim == 4 and cleaner.reach is None:
        raise UserError(f"{cleaner.name} knows one level for a whole picture: give sigma as a number, or use photo")
    run = greyed(whole) if grey else whole
    run = mirrored(run) if mirror else run
    with torch.no_grad():
        if not samples:
            return taken.back(best(cleaner, run, y, level, clipped).clamp_(-1, 1))
        drawn = _drawn(cleaner, run, y, level, clipped, samples, steps, seed)
        return [taken.back(each.clamp_(-1, 1)) for each in drawn]


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


def _drawn(
    cleaner: Cleaner, run: Denoiser, y: Tensor, level: Level, clipped: bool, k: int, steps: int, seed: int
) -> list[Tensor]:
    """k posterior samples; pictures of different levels one after the other."""
    if level.sigma.ndim == 4:
        raise UserError("samples need one sigma a picture: give a number")
    sigmas = level.sigma.reshape(-1).expand(len(y)).tolist()
    if len(set(sigmas)) > 1:
        rows = [
            _drawn(cleaner, run, y[j : j + 1], Level.of(sigma), clipped, k, steps, seed + j)
            for j, sigma in enumerate(sigmas)
        ]
        return [torch.cat(each) for each in zip(*rows, strict=True)]
    if clipped:
        y = unclipped(run(y, level, cleaner.condition(True, len(y))), y, level)

    def fresh(j: int) -> Callable[[], Tensor]:
        own = torch.Generator().manual_seed((seed + j) % 2**64)
        return lambda: torch.randn(y.shape, generator=own).to(y)

    known = cleaner.condition(False, len(y))
    return [
        posterior(run, y, sigmas[0], 1, steps=steps, cond=known, noise=lambda _, j=j: fresh(j))[0]  # type: ignore[misc]
        for j in range(k)
    ]
