"""What is to be said of a photo beside the thing's name, in words of the base's own world: where and how large it is.

What a caption tells need not be learned as a part of the thing. The background is the named colour of the photo's
border, untold if it has none; size and place are where the photo's detail lies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import sobel

from sfumato.pictures.emoji.read import background
from sfumato.pictures.emoji.scene import BACKGROUNDS, PLACES, SIZES, Scene
from sfumato.text.model import TextModel

TAIL = 0.02  # of the detail, that may lie outside on each side


def describes(model: TextModel) -> bool:
    """Whether words for a model's world are known here."""
    return model.recipe.data.source == "emoji"


@dataclass(frozen=True)
class Box:
    """Where a thing lies in a picture, in shares of its sides."""

    top: float
    bottom: float
    left: float
    right: float

    @property
    def longer(self) -> float:
        return max(self.bottom - self.top, self.right - self.left)


def described(picture: np.ndarray, thing: str) -> str:
    """What a picture of a thing shows, uint8 (3, H, W)."""
    where = background(picture)
    return Scene((thing,), where, *framing(subject(picture))).caption(told=where in BACKGROUNDS)


def subject(picture: np.ndarray) -> Box:
    """Where the detail of a picture lies, uint8 (3, H, W)."""
    values = picture.astype(np.float64)
    detail = np.hypot(sobel(values, 1), sobel(values, 2)).sum(0)
    return Box(*_span(detail.sum(1)), *_span(detail.sum(0)))


def framing(box: Box) -> tuple[str, str]:
    """The nearest words for a size and a place."""
    y, x = (box.top + box.bottom - 1) / 2, (box.left + box.right - 1) / 2
    size = min(SIZES, key=lambda name: abs(math.log(max(box.longer, 0.01) / SIZES[name])))
    place = min(PLACES, key=lambda name: math.hypot(PLACES[name][0] - y, PLACES[name][1] - x))
    return size, "" if size == "large" else place


def _span(along: np.ndarray) -> tuple[float, float]:
    """Between which shares of an axis all but the tails lie."""
    mass = np.cumsum(along) / max(along.sum(), 1e-9)
    low, high = np.searchsorted(mass, (TAIL, 1 - TAIL))
    return float(low) / len(along), float(high + 1) / len(along)
