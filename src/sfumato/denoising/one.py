"""Cleans one picture, a file or in memory; the result also has the sigma that was used."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

import numpy as np
from PIL import Image
from torch import Tensor

from sfumato.denoising.arrays import P, take
from sfumato.denoising.cleaner import Cleaner
from sfumato.denoising.denoise import Cleaning, OnTile, Sigma, denoise, posterior_samples
from sfumato.denoising.files import clean_photo, upright
from sfumato.denoising.levels import estimated
from sfumato.denoising.photo import Photo, read, write
from sfumato.denoising.places import Order
from sfumato.errors import UserError
from sfumato.files import aside


@dataclass(frozen=True)
class Denoised(Generic[P]):
    """A clean picture.

    picture: of the type, shape and dtype of the given one; of a file, its pixels, uint8 or uint16 (H, W, C), in the
    file's orientation; sigma: the given or estimated standard deviation of the noise, where white is 1: a number, one
    for each picture, or a map; samples: posterior samples, possible clean pictures; photo: the given file, if any.
    """

    picture: P
    sigma: float | np.ndarray
    samples: tuple[P, ...] = ()
    photo: Photo | None = field(default=None, repr=False)

    def image(self) -> Image.Image:
        """The picture as a PIL image of 8 bits, upright. Raises UserError if there are several."""
        if isinstance(self.picture, Image.Image):
            return self.picture
        array = np.asarray(self.picture)
        if isinstance(self.picture, Tensor):
            array = array.transpose(*range(array.ndim - 3), -2, -1, -3)
        if array.ndim > 3:
            raise UserError(f"{len(array)} pictures are no single image: take one of them")
        top = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1.0
        bytes_ = np.rint(array.astype(np.float64) * (255 / top)).clip(0, 255).astype(np.uint8)
        made = Image.fromarray(bytes_[..., 0] if bytes_.ndim == 3 and bytes_.shape[2] == 1 else bytes_)
        return made if self.photo is None else upright(made, self.photo)

    def save(self, path: str | Path) -> Path:
        """Write a picture file in the format of the path's suffix; of a photo file, with its metadata.

        Raises UserError if the format cannot hold the picture.
        """
        place = Path(path)
        if self.photo is not None:
            return write(self.photo, np.asarray(self.picture), place)
        with aside(place) as temporary:
            self.image().save(temporary)
        return place


def clean_file(cleaner: Cleaner, path: Path, order: Order, on_tile: OnTile | None = None) -> Denoised[np.ndarray]:
    """Clean a photo file. Raises UserError, one line with the file's name."""
    photo = read(path)
    try:
        made = clean_photo(cleaner, photo, order, on_tile)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return Denoised(made.pixels, made.sigma, tuple(made.samples), photo)


def clean_one(
    cleaner: Cleaner, picture: P, sigma: Sigma, cleaning: Cleaning, samples: int = 0, seed: int = 0
) -> Denoised[P]:
    """As `denoise`; the result also has the sigma that was used. Raises UserError."""
    used = estimated(cleaner, take(picture).x.to(cleaner.device)).sigma / 2 if sigma is None else sigma
    clean = denoise(cleaner, picture, used, cleaning)
    drawn = posterior_samples(cleaner, picture, samples, used, cleaning, seed=seed) if samples else []
    level = np.asarray(used.cpu() if isinstance(used, Tensor) else used, np.float64)
    return Denoised(clean, float(level.reshape(-1)[0]) if level.size == 1 else level, tuple(drawn))
