"""What is to be said of a photo beside the thing's name, in words of the base's own world: where and how large it is.

What a caption tells need not be learned as a part of the thing. The background is the one under whose caption the base
best finds the photo in noise (Li et al. 2023, "Your diffusion model is secretly a zero-shot classifier", eq. 4); size
and place are where the photo's detail lies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import sobel
from torch import Tensor

from sfumato.diffusion.level import Level
from sfumato.pictures.emoji.scene import BACKGROUNDS, PLACES, SIZES, Scene
from sfumato.text.model import TextModel

ASKED = (0.5, 1.0, 2.0, 4.0)  # sigma / alpha
NOISES = 2  # at each
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


class Describer:
    """Captions for photos of `thing`, which is a `noun` to the base."""

    def __init__(self, model: TextModel, noun: str, thing: str) -> None:
        self.model, self.noun, self.thing = model, noun, thing

    def caption(self, picture: np.ndarray, photo: Tensor) -> str:
        """What a picture, uint8 (3, H, W), shows, its latents (C, h, w)."""
        papers = list(BACKGROUNDS)
        where = papers[best(self.model, photo, [Scene((self.noun,), paper).caption() for paper in papers])]
        return Scene((self.thing,), where, *framing(subject(picture))).caption()


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


@torch.inference_mode()
def best(model: TextModel, photo: Tensor, captions: Sequence[str]) -> int:
    """The number of the caption under which a photo (C, h, w) is best found in noise."""
    states = model.tell(captions, len(captions))
    assert states is not None
    generator = torch.Generator().manual_seed(0)
    photo = photo.to(model.device)
    errors = torch.zeros(len(captions))
    for ratio in ASKED:
        level = Level.of(ratio)
        for _ in range(NOISES):
            noise = torch.randn(photo.shape, generator=generator).to(model.device)
            x = level.mix(photo, noise).expand(len(captions), *photo.shape)
            errors += (model.denoiser(x, level, states) - photo).square().flatten(1).mean(1).cpu() / ratio**2
    return int(errors.argmin())
