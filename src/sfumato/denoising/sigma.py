"""The noise of a picture as a person says it. Light: imports nothing heavy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sfumato.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def given(sigma: float | str | Path | np.ndarray | Tensor | None, name: str = "sigma") -> float | np.ndarray | None:
    """ "auto" or None: to be estimated, None; a number, the text of one; a grey picture's file: its map (H, W).

    All in the scale where white is 1. name: what it is called in errors. Raises UserError.
    """
    if sigma is None or (isinstance(sigma, str) and sigma == "auto"):
        return None
    if isinstance(sigma, (str, Path)):
        try:
            number = float(str(sigma))
        except ValueError:
            return _map(Path(sigma), name)
        return _number(number, str(sigma), name)
    if isinstance(sigma, (list, tuple)):
        raise UserError(f"{name} {sigma!r:.60}: give a number, an array (N,) or (H, W), or the file of a grey picture")
    if isinstance(sigma, (int, float)):
        return _number(sigma, str(sigma), name)
    return sigma if isinstance(sigma, np.ndarray) else sigma.detach().cpu().numpy()


def check_samples(level: float | np.ndarray | None, samples: int, name: str = "sigma") -> None:
    """Raises UserError if samples are to be drawn with a map of sigma: they start at one level of a whole picture."""
    if samples and np.ndim(level if level is not None else 0) > 1:
        raise UserError(f"samples need one sigma for a whole picture: give {name} a number, or leave it out")


def _number(value: float, text: str, name: str) -> float:
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise UserError(f"{name} {text}: the noise's standard deviation, where white is 1, is between 0 and 1")
    return value


def _map(path: Path, name: str) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"{name} {path}: auto, a number between 0 and 1, or the file of a grey picture")
    from sfumato.denoising.photo import read

    photo = read(path)
    if photo.pixels.shape[2] != 1:
        raise UserError(f"{name} {path}: a map is a grey picture; this one has {photo.pixels.shape[2]} channels")
    return photo.pixels[..., 0].astype(np.float64) / photo.top
