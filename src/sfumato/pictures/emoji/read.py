"""What a picture of the world shows, read by comparing it with every drawing that it could be.

The background is the named colour nearest to the median of the border. Every thing, size and place is then drawn on
that background; the scene is the drawing with the least squared error, over small shifts.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato.pictures.emoji.scene import BACKGROUNDS, PLACES, SIZES, Scene, paste
from sfumato.pictures.emoji.things import alike, glyph, taught

FINE = 2  # pixels that one compared value stands for, along a side
SHIFTS = [(y, x) for y in (-2, -1, 0, 1, 2) for x in (-2, -1, 0, 1, 2)]
NAMED = 60.0  # in RGB distance: a background further from every named colour has no name


@dataclass(frozen=True)
class Right:
    """Which parts of a scene a picture shows."""

    things: bool
    background: bool
    size: bool
    place: bool


def background(picture: np.ndarray) -> str:
    """The name of a background, "?" if the border is of no named colour. picture: uint8 (3, H, W)."""
    p = picture.astype(np.float32)
    border = np.concatenate([p[:, 0], p[:, -1], p[:, 1:-1, 0], p[:, 1:-1, -1]], axis=1)
    far = {name: float(np.linalg.norm(np.median(border, axis=1) - np.array(c))) for name, c in BACKGROUNDS.items()}
    best = min(far, key=far.__getitem__)
    return best if far[best] < NAMED else "?"


def read(pictures: Tensor, things: int, names: Sequence[str] | None = None) -> list[Scene]:
    """The scene of each picture, told how many things it shows: 1, or 2 side by side.

    pictures: uint8 (N, 3, S, S); names: the things it may be, those taught if left out. Of two things no place and only
    the first's size is read.
    """
    known = tuple(names or taught())
    side = pictures.shape[-1]
    papers = [background(p) for p in pictures.numpy()]
    found: list[Scene | None] = [None] * len(pictures)
    for paper in dict.fromkeys(papers):
        rows = [k for k, each in enumerate(papers) if each == paper]
        colour = paper if paper != "?" else "grey"
        x = pictures[rows]
        if things == 1:
            best = _nearest(x, *_drawings(known, side, colour))
            scenes = [Scene((known[t],), paper, size, place) for t, size, place in best]
        else:
            half = side // 2
            left = _nearest(x[..., :half], *_drawings(known, side, colour, "left"))
            right = _nearest(x[..., half:], *_drawings(known, side, colour, "right"))
            scenes = [
                Scene((known[a], known[b]), paper, size) for (a, size, _), (b, _, _) in zip(left, right, strict=True)
            ]
        for k, scene in zip(rows, scenes, strict=True):
            found[k] = scene
    return [scene for scene in found if scene is not None]


def compare(wanted: Scene, seen: Scene) -> Right:
    """Which parts of what was wanted were seen; things that look alike count."""
    same = all(b in alike()[a] for a, b in zip(wanted.things, seen.things, strict=True))
    return Right(same, wanted.background == seen.background, wanted.size == seen.size, wanted.place == seen.place)


Key = tuple[int, str, str]  # number of the thing, size, place


def _drawings(names: tuple[str, ...], side: int, paper: str, half: str = "") -> tuple[Tensor, list[Key]]:
    """Every thing in every size and place on a background, float (K, 3, h, w), and which each is.

    half: "left" or "right" of two things, on its half of the picture.
    """
    ink, through, keys = _stamps(names, side, half)
    colour = torch.tensor(BACKGROUNDS[paper], dtype=torch.float32).view(1, 3, 1, 1) / 255
    return torch.addcmul(ink, through, colour), keys


@functools.lru_cache(maxsize=8)
def _stamps(names: tuple[str, ...], side: int, half: str) -> tuple[Tensor, Tensor, list[Key]]:
    """The same without a background: what is drawn, (K, 3, h, w), and how much shows through it, (K, 1, h, w)."""
    sizes = [("", ""), ("small", "")] if half else [(s, p) for s in SIZES for p in PLACES if s != "large" or not p]
    sizes = sizes[:1] if half == "right" else sizes
    window = {"": slice(None), "left": slice(0, side // 2), "right": slice(side // 2, None)}[half]
    keys: list[Key] = []
    rows = []
    for number, name in enumerate(names):
        for size, place in sizes:
            scene = Scene((name, name) if half else (name,), "white", size, place)
            spot = scene.places((side, side))[1 if half == "right" else 0]
            canvas = np.zeros((side, side, 4), np.float32)
            paste(canvas, glyph(name, spot[2]), *spot[1])
            rows.append(_coarse(torch.from_numpy(canvas[:, window].transpose(2, 0, 1))[None])[0])
            keys.append((number, size, place))
    drawn = torch.stack(rows)
    return drawn[:, :3].contiguous(), 1 - drawn[:, 3:], keys


def _nearest(x: Tensor, drawn: Tensor, keys: list[Key]) -> list[Key]:
    """Which drawing each picture is nearest to. x: uint8 (N, 3, h, w)."""
    flat = drawn.flatten(1)
    square = flat.square().sum(1)
    least = torch.full((len(x),), torch.inf)
    which = torch.zeros(len(x), dtype=torch.int64)
    values = x.float() / 255
    for dy, dx in SHIFTS:
        wide = F.pad(values, (2, 2, 2, 2), mode="replicate")
        p = _coarse(wide[..., 2 + dy : 2 + dy + x.shape[2], 2 + dx : 2 + dx + x.shape[3]]).flatten(1)
        error = p.square().sum(1, keepdim=True) - 2 * p @ flat.T + square
        low, at = error.min(1)
        which = torch.where(low < least, at, which)
        least = torch.minimum(low, least)
    return [keys[k] for k in which.tolist()]


def _coarse(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, FINE)
