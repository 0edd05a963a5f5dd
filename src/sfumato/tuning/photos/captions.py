"""Captions for photos in the words of the base `mini`: the background, and the thing's size and place.

What a caption describes is not learned as part of the thing. The background is the named colour of the photo's border,
and is left out if it has no name; size and place are those of the photo's detail.
"""

from __future__ import annotations

import math

import numpy as np

from sfumato.models.latent import LatentModel
from sfumato.pictures.drawn.emoji.read import background
from sfumato.pictures.drawn.emoji.scene import BACKGROUNDS, PLACES, SIZES, Scene
from sfumato.tuning.photos.subject import Box, find


def describes(model: LatentModel) -> bool:
    """Whether captions can be written for a model: only for those trained on emoji."""
    return model.source == "emoji"


def described(picture: np.ndarray, thing: str) -> str:
    """The caption of a picture of a thing, uint8 (3, H, W)."""
    where = background(picture)
    return Scene((thing,), where, *framing(find(picture))).caption(with_background=where in BACKGROUNDS)


def framing(box: Box) -> tuple[str, str]:
    """The words for a size and a place that are nearest to a box."""
    y, x = (box.top + box.bottom - 1) / 2, (box.left + box.right - 1) / 2
    size = min(SIZES, key=lambda name: abs(math.log(max(box.longer, 0.01) / SIZES[name])))
    place = min(PLACES, key=lambda name: math.hypot(PLACES[name][0] - y, PLACES[name][1] - x))
    return size, "" if size == "large" else place
