"""What is to be said of a photo beside the thing's name, in words of the base's own world: where and how large it is.

What a caption tells need not be learned as a part of the thing. The background is the named colour of the photo's
border, untold if it has none; size and place are where the photo's detail lies.
"""

from __future__ import annotations

import math

import numpy as np

from sfumato.models.latent import LatentModel
from sfumato.pictures.drawn.emoji.read import background
from sfumato.pictures.drawn.emoji.scene import BACKGROUNDS, PLACES, SIZES, Scene
from sfumato.tuning.photos.subject import Box, find


def describes(model: LatentModel) -> bool:
    """Whether words for a model's world are known here."""
    return model.source == "emoji"


def described(picture: np.ndarray, thing: str) -> str:
    """What a picture of a thing shows, uint8 (3, H, W)."""
    where = background(picture)
    return Scene((thing,), where, *framing(find(picture))).caption(with_background=where in BACKGROUNDS)


def framing(box: Box) -> tuple[str, str]:
    """The nearest words for a size and a place."""
    y, x = (box.top + box.bottom - 1) / 2, (box.left + box.right - 1) / 2
    size = min(SIZES, key=lambda name: abs(math.log(max(box.longer, 0.01) / SIZES[name])))
    place = min(PLACES, key=lambda name: math.hypot(PLACES[name][0] - y, PLACES[name][1] - x))
    return size, "" if size == "large" else place
