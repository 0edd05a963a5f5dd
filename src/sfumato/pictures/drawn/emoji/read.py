"""Which scene a picture shows: it is compared with every possible drawing.

The background is the named colour nearest to the median of the border. Every thing, size and place is then drawn on
that background; the scene is the drawing with the least squared error over small shifts. Two or three things
are read one by one, each in its part of the picture. Only the part of a drawing that differs from the background is
compared.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato.pictures.drawn.emoji.scene import BACKGROUNDS, PLACES, SIZES, Scene, paste
from sfumato.pictures.drawn.emoji.things import alike, glyph, taught

COARSE = 32  # compared values along a side
REACH = 3  # largest shift in half steps of that grid: two for the jitter, and one more
AT_ONCE = 100  # pictures
PARTS = {1: [(0.0, 1.0)], 2: [(0.0, 0.5), (0.5, 1.0)], 3: [(0.0, 0.34), (0.34, 0.66), (0.66, 1.0)]}  # left to right
NAMED = 60.0  # RGB distance beyond which a background has no named colour


@dataclass(frozen=True)
class Right:
    """Which parts of a prompt's scene are right in a picture."""

    things: bool
    background: bool
    size: bool
    place: bool


def background(picture: np.ndarray) -> str:
    """The name of the background's colour, "?" if it has none. picture: uint8 (3, H, W)."""
    p = picture.astype(np.float32)
    border = np.concatenate([p[:, 0], p[:, -1], p[:, 1:-1, 0], p[:, 1:-1, -1]], axis=1)
    far = {name: float(np.linalg.norm(np.median(border, axis=1) - np.array(c))) for name, c in BACKGROUNDS.items()}
    best = min(far, key=far.__getitem__)
    return best if far[best] < NAMED else "?"


def read(pictures: Tensor, things: int, names: Sequence[str] | None = None) -> list[Scene]:
    """The scene of each picture, given its number of things: 1, or 2 or 3 side by side.

    pictures: uint8 (N, 3, S, S); names: the possible things, all things in training if left out. For two things only
    the size of the first is read and no place, for three things neither.
    """
    known = tuple(names or taught())
    x = pictures.cpu()
    backgrounds = [background(p) for p in x.numpy()]
    shown: dict[int, Scene] = {}
    for name in dict.fromkeys(backgrounds):
        rows = torch.tensor([k for k, each in enumerate(backgrounds) if each == name])
        colour = torch.tensor(BACKGROUNDS[name if name != "?" else "grey"]).view(3, 1, 1) / 255
        for some in rows.split(AT_ONCE):
            shifted = _shifted(x[some]) - colour
            parts = [_nearest(shifted, _drawings(known, x.shape[-1], things, k), colour) for k in range(things)]
            for k, each in zip(some.tolist(), zip(*parts, strict=True), strict=True):
                shown[k] = Scene(tuple(known[thing] for thing, _, _ in each), name, *each[0][1:])
    return [shown[k] for k in range(len(x))]


def compare(prompt: Scene, shown: Scene) -> Right:
    """Which parts of a prompt's scene are right; a thing that looks alike counts as right."""
    same = all(b in alike()[a] for a, b in zip(prompt.things, shown.things, strict=True))
    return Right(same, prompt.background == shown.background, prompt.size == shown.size, prompt.place == shown.place)


@dataclass(frozen=True)
class _Drawings:
    """Every thing in one size at one place: colours times alpha (K, 3, h, w), and alpha (K, 1, h, w).

    box: the rows and columns of the coarse picture that contain it; columns: those of its part of the picture.
    """

    size: str
    place: str
    box: tuple[slice, slice]
    columns: slice
    ink: Tensor
    alpha: Tensor


@functools.lru_cache(maxsize=8)
def _drawings(names: tuple[str, ...], side: int, things: int, part: int) -> list[_Drawings]:
    """All possible drawings in one part of a picture with `things` things. part: counted from the left."""
    coarse = side // _fine(side)
    columns = slice(*(round(coarse * share) for share in PARTS[things][part]))
    drawings = []
    for size, place in _framings(things, part):
        scene = Scene((names[0],) * things, "white", size, place)
        _, (y, x), longer = scene.places((side, side))[part]
        box = _around(y, longer, side, slice(0, coarse)), _around(x, longer, side, columns)
        stamps = torch.empty(len(names), 4, box[0].stop - box[0].start, box[1].stop - box[1].start)
        for number, name in enumerate(names):
            canvas = np.zeros((side, side, 4), np.float32)
            paste(canvas, glyph(name, longer), y, x)
            stamps[number] = _coarse(torch.from_numpy(canvas.transpose(2, 0, 1))[None])[0][:, box[0], box[1]]
        drawings.append(_Drawings(size, place, box, columns, stamps[:, :3].contiguous(), stamps[:, 3:].contiguous()))
    return drawings


def _around(middle: float, longer: int, side: int, within: slice) -> slice:
    """The coarse rows or columns that a thing can touch."""
    first = math.floor((middle - longer / 2 - 0.5) / _fine(side))
    end = math.ceil((middle + longer / 2 + 0.5) / _fine(side))
    return slice(max(first, within.start), min(end, within.stop))


def _framings(things: int, part: int) -> list[tuple[str, str]]:
    """The possible sizes and places of a thing."""
    if things == 1:
        return [(size, place) for size in SIZES for place in PLACES if size != "large" or not place]
    return [("", ""), ("small", "")] if things == 2 and part == 0 else [("", "")]


def _nearest(shifted: Tensor, drawings: list[_Drawings], colour: Tensor) -> list[tuple[int, str, str]]:
    """The thing, size and place nearest to each picture, over all shifts.

    shifted: float (T, N, 3, h, w), less the background. |p - d|^2 = |p|^2 - 2 p d + |d|^2, and d is 0 outside a box.
    """
    square = shifted[..., drawings[0].columns].square().sum((2, 3, 4))
    errors = []
    for each in drawings:
        flat = (each.ink - each.alpha * colour).flatten(1)
        p = shifted[..., each.box[0], each.box[1]].flatten(2)
        error = torch.addmm(flat.square().sum(1), p.flatten(0, 1), flat.T, alpha=-2).unflatten(0, square.shape)
        errors.append((error + square[..., None]).amin(0))
    which = torch.stack(errors).transpose(0, 1).flatten(1).argmin(1)
    count = errors[0].shape[1]
    return [(k % count, drawings[k // count].size, drawings[k // count].place) for k in which.tolist()]


def _shifted(pictures: Tensor) -> Tensor:
    """Pictures, uint8 (N, 3, S, S), shifted by half steps of the coarse grid and made coarse: (T, N, 3, h, w)."""
    side = pictures.shape[-1]
    steps = sorted({round(k * _fine(side) / 2) for k in range(-REACH, REACH + 1)})
    room = steps[-1]
    wide = F.pad(pictures.float() / 255, (room, room, room, room), mode="replicate")
    starts = [(room + dy, room + dx) for dy in steps for dx in steps]
    return torch.stack([_coarse(wide[..., y : y + side, x : x + side]) for y, x in starts])


def _fine(side: int) -> int:
    """Pixels per compared value, along a side."""
    return max(1, side // COARSE)


def _coarse(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, _fine(x.shape[-1]))
