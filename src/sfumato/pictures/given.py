"""A picture that a person gives, brought to the size that a model draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sfumato.errors import UserError
from sfumato.pictures.crop import channels, fit
from sfumato.pictures.decode import PictureError, decode


def fitted(picture: str | Path | Image.Image | np.ndarray, shape: tuple[int, int, int], name: str = "init") -> Tensor:
    """The largest centred part of the proportions of `shape`, (C, H, W), resized to it: uint8 (C, H, W).

    picture: a file, a PIL image, or uint8 (H, W) or (H, W, C) with C 1 or 3; name: for errors. Raises UserError.
    """
    array = read(picture, name)
    return torch.from_numpy(channels(fit(array, shape[1:])[None], shape[0])[0].copy())


def read(picture: str | Path | Image.Image | np.ndarray, name: str = "init") -> np.ndarray:
    """A picture as uint8 (H, W, C), C 1 or 3, in its own size. Raises UserError, as `fitted`."""
    if isinstance(picture, (str, Path)):
        try:
            return decode(Path(picture))
        except (PictureError, OSError) as error:
            raise UserError(f"{name} {picture}: {error}") from error
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("RGB"))
    if not isinstance(picture, np.ndarray):
        raise UserError(f"{name} {picture!r:.60}: give a file, a PIL image, or uint8 (H, W) or (H, W, C)")
    array = picture[:, :, None] if picture.ndim == 2 else picture
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
        raise UserError(f"{name}: {picture.dtype} of shape {picture.shape}; give uint8 (H, W) or (H, W, C), C 1 or 3")
    return array
