"""The verb `denoise`: pictures of any size and kind, cleaned at the level they have."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sfumato.denoising import noise as noises
from sfumato.denoising.arrays import take
from sfumato.denoising.posterior import STEPS, posterior
from sfumato.denoising.tiles import TILE, Tiled
from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level
from sfumato.diffusion.saturation import unclipped
from sfumato.errors import UserError
from sfumato.pictures.vocabulary import CLIPPED, NOISE, PURE

if TYPE_CHECKING:
    from sfumato.models.model import Model

LARGEST = 2**20  # pixels that a model without a known reach takes at once
LEAST = 1e-4  # of the noise in [-1, 1] scale that a network is told
CELL = 8  # a gauge takes sides that are multiples of it
PARTS = 8  # along each side of a large photo, of the parts that a gauge reads
SATURATED = 0.002  # share of values at black or white from which noise counts as cut off
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
    y = taken.x.to(model.device)
    if samples < 0 or not 0 <= strength <= 1:
        raise UserError(f"samples={samples}, strength={strength:g}: samples is 0 or more, strength between 0 and 1")
    if clipped is None:
        clipped = cut_off(y)
    grey = y.shape[1] == 1 and model.shape[0] == 3
    if not grey and y.shape[1] != model.shape[0]:
        raise UserError(f"{model.name} cleans pictures of {model.shape[0]} channels, not {y.shape[1]}")
    level = level_of(sigma, y) if sigma is not None else estimated(model, y)
    level = Level.of(level.sigma * strength)
    if not float(level.sigma.max()):
        return [copy.deepcopy(picture) for _ in range(samples)] if samples else copy.deepcopy(picture)
    level = Level.of(level.sigma.clamp_min(LEAST))
    whole = anysize(model, y, tile, told)
    if level.sigma.ndim == 4 and not hasattr(model.net.config, "reach"):
        raise UserError(f"{model.name} knows one level for a whole picture: give sigma as a number, or use photo")
    run = greyed(whole) if grey else whole
    run = mirrored(run) if mirror else run
    with torch.no_grad():
        if not samples:
            return taken.back(best(model, run, y, level, clipped).clamp_(-1, 1))
        drawn = _drawn(model, run, y, level, clipped, samples, steps, seed)
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


def estimated(model: Model, y: Tensor) -> Level:
    """One level a picture, as the model's gauge reads it, or `noise.estimate`."""
    if reads_levels(model) and y.shape[1] in (1, model.shape[0]):
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
    """k posterior samples; pictures of different levels one after the other."""
    if level.sigma.ndim == 4:
        raise UserError("samples need one sigma a picture: give a number")
    sigmas = level.sigma.reshape(-1).expand(len(y)).tolist()
    if len(set(sigmas)) > 1:
        rows = [
            _drawn(model, run, y[j : j + 1], Level.of(sigma), clipped, k, steps, seed + j)
            for j, sigma in enumerate(sigmas)
        ]
        return [torch.cat(each) for each in zip(*rows, strict=True)]
    if clipped:
        y = unclipped(run(y, level, tell(model, True, y)), y, level)

    def fresh(j: int) -> Callable[[], Tensor]:
        own = torch.Generator().manual_seed((seed + j) % 2**64)
        return lambda: torch.randn(y.shape, generator=own).to(y)

    known = tell(model, False, y)
    return [
        posterior(run, y, sigmas[0], 1, steps=steps, cond=known, noise=lambda _, j=j: fresh(j))[0]  # type: ignore[misc]
        for j in range(k)
    ]


def reads_levels(model: Model) -> bool:
    """Whether a network of the model reads the noise level from a picture."""
    return getattr(model.net, "gauge", None) is not None


def level_read(model: Model, pixels: np.ndarray) -> float:
    """Sigma, where white is 1, as such a model reads it from a picture (H, W, C); from parts of a large one."""
    side = getattr(model.net.gauge, "side", 0)
    if not side:
        return float(gauged(model, take(pixels).x.to(model.device)).sigma[0] / 2)
    read = [
        _votes(model, take(pixels[rows, columns]).x.to(model.device)) for rows, columns in parts(pixels.shape, side)
    ]
    return float(_agreed(torch.stack(read))[0] / 2)


def gauged(model: Model, y: Tensor) -> Level:
    """The level of each picture as the model's own gauge reads it. Raises UserError if it has none."""
    gauge: Any = getattr(model.net, "gauge", None)
    if gauge is None:
        raise UserError(f"{model.name} does not read the noise level from a picture: tell it")
    y = y.expand(-1, model.shape[0], -1, -1) if y.shape[1] == 1 else y
    side = getattr(gauge, "side", 0)
    if side:  # reads places, which parts of a picture have too
        return Level.of(_agreed(torch.stack([_votes(model, y[..., r, c]) for r, c in parts(y.shape[-2:], side)])))
    with torch.no_grad():
        return Level.of(gauge(_wrapped(y)).double().exp().clamp(LOW, HIGH).cpu())


def parts(shape: Sequence[int], side: int) -> list[tuple[slice, slice]]:
    """Squares of `side` spread evenly over a picture (H, W, ...), PARTS along each side at most; small ones whole."""
    spans = []
    for length in shape[:2]:
        count = min(PARTS, math.ceil(length / side))
        starts = np.linspace(0, max(0, length - side), count).astype(int).tolist()
        spans.append([slice(start, min(length, start + side)) for start in starts])
    return [(rows, columns) for rows in spans[0] for columns in spans[1]]


@torch.no_grad()
def _votes(model: Model, y: Tensor) -> Tensor:
    """What the places of pictures say of their level, (N, 2), see `nets.gauge.PlaceGauge`."""
    y = y.expand(-1, model.shape[0], -1, -1) if y.shape[1] == 1 else y
    height, width = (side - side % CELL if side >= 2 * CELL else side for side in y.shape[-2:])
    gauge: Any = model.net.gauge
    read: Tensor = gauge.votes(_wrapped(y[..., :height, :width]))
    return read.double()


def _agreed(votes: Tensor) -> Tensor:
    """The level of each picture by the votes of its parts, (parts, N, 2) -> (N,)."""
    total = votes.sum(0)
    return (total[:, 0] / total[:, 1]).exp().clamp(LOW, HIGH).cpu()


def _wrapped(y: Tensor) -> Tensor:
    """With sides that are multiples of CELL, 2 CELL at least, made longer by what is at the other end."""
    height, width = y.shape[-2:]
    down, right = (max(-side % CELL, 2 * CELL - side) for side in (height, width))
    if not down and not right:
        return y
    return y[:, :, torch.arange(height + down) % height][..., torch.arange(width + right) % width]


def knows_clipping(model: Model) -> bool:
    """Whether the model was trained on pure and clipped noise, and is told which it is."""
    return model.vocabulary == NOISE


def tell(model: Model, clipped: bool, y: Tensor) -> Condition | None:
    return model.tell([CLIPPED if clipped else PURE], len(y)) if knows_clipping(model) else None
