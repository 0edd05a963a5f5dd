"""Pictures that a model drew, with their prompts, seeds and settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from sfumato.diffusion.samplers import Step
from sfumato.models.model import Model
from sfumato.models.sampling import Sampling
from sfumato.recipe.sections import Sample
from sfumato.show.grid import as_array, enlarge, grid


@dataclass(frozen=True)
class Samples:
    """N pictures that a model drew.

    Attributes:
        pictures: uint8 (N, H, W, C), C is 1 or 3.
        texts: The prompt or label of each; () if there were none.
        seeds: The seed of each.
        warnings: One line for each part of the texts that the model omits or does not know.
        model: The name of the model.
        settings: The sampling settings.
    """

    pictures: np.ndarray
    texts: tuple[str, ...]
    seeds: tuple[int, ...]
    warnings: tuple[str, ...]
    model: str
    settings: Sample

    def __len__(self) -> int:
        return len(self.pictures)

    def images(self) -> list[Image.Image]:
        """The pictures as PIL images."""
        return [enlarge(picture, 1) for picture in self.pictures]

    def grid(self) -> Image.Image:
        """All pictures in one, in rows, each with its text below it."""
        return grid(self.pictures.transpose(0, 3, 1, 2), captions=self.texts or None)


def draw(
    model: Model,
    n: int,
    *,
    texts: Sequence[str] = (),
    seed: int = 0,
    sampling: Sampling = Sampling(),
    init: Tensor | None = None,
    callback: Callable[[int, Step], None] | None = None,
) -> Samples:
    """Draw pictures as `Model.sample`, and return them with their prompts, seeds, settings and warnings.

    Raises UserError as `Model.sample`.
    """
    pictures = model.sample(
        n, texts=texts, seed=seed, sampling=sampling, init=init, callback=callback, warn=False
    )  # fmt: skip
    return Samples(
        np.ascontiguousarray(as_array(pictures)),
        tuple(texts[k % len(texts)] for k in range(n)) if texts else (),
        tuple(seed + k for k in range(n)),
        tuple(doubts(model, texts, sampling.negative)),
        model.name,
        model.settings(sampling),
    )


def doubts(model: Model, texts: Sequence[str], negative: str | None = None) -> list[str]:
    """The lines of `Model.warnings`, and one more line if a text is empty."""
    lines = model.warnings(texts, negative)
    if any(not text.strip() for text in texts):
        lines.append("an empty prompt gives the model no subject: it draws any picture")
    return lines
