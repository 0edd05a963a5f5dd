"""From a picture of any size to pictures of one size."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from sfumato.pictures.decode import PictureError

MAX_ASPECT = 50


def fit(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The largest centred part of a picture with the proportions of `size`, resized to it.

    `picture` is uint8 (H, W, C), `size` is (height, width); returns uint8 (height, width, C). Resizing is
    antialiased (Lanczos after a box reduction), and up where the picture is smaller.
    """
    height, width = picture.shape[:2]
    scale = max(size[0] / height, size[1] / width)
    tall, wide = size[0] / scale, size[1] / scale
    left, top = max(0.0, (width - wide) / 2), max(0.0, (height - tall) / 2)
    return _resize(picture, size, (left, top, min(width, left + wide), min(height, top + tall)))


def tiles(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A regular grid of overlapping pieces that covers a picture.

    The picture is first scaled down until it is twice as large as a tile along its tighter side, if it is
    larger than that, and up only if a tile would not fit. Neighbours are at most half a tile apart.

    `picture` is uint8 (H, W, C), `size` is (height, width); returns uint8 (n, height, width, C). Raises
    PictureError if one side is more than 50 times the other.
    """
    height, width = picture.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise PictureError(f"{width} x {height}: one side is more than {MAX_ASPECT} times the other")
    cover = max(size[0] / height, size[1] / width)
    scale = max(cover, min(1.0, 2 * cover))
    tall, wide = max(size[0], round(height * scale)), max(size[1], round(width * scale))
    whole = _resize(picture, (tall, wide), (0, 0, width, height))
    pieces = [whole[y : y + size[0], x : x + size[1]] for y in _starts(tall, size[0]) for x in _starts(wide, size[1])]
    return np.stack(pieces)


def pieces(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As few pieces as cover a picture at its own scale, so that noise and grain are not resampled.

    Shapes and errors as for `tiles`; a picture smaller than a piece is scaled up.
    """
    height, width = picture.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise PictureError(f"{width} x {height}: one side is more than {MAX_ASPECT} times the other")
    scale = max(1.0, size[0] / height, size[1] / width)
    tall, wide = max(size[0], round(height * scale)), max(size[1], round(width * scale))
    whole = _resize(picture, (tall, wide), (0, 0, width, height))
    corners = [(y, x) for y in _starts(tall, size[0], size[0]) for x in _starts(wide, size[1], size[1])]
    return np.stack([whole[y : y + size[0], x : x + size[1]] for y, x in corners])


CROPS: dict[str, Callable[[np.ndarray, tuple[int, int]], np.ndarray]] = {
    "center": lambda picture, size: fit(picture, size)[None],
    "tiles": tiles,
    "pieces": pieces,
}


def _starts(length: int, tile: int, gap: int | None = None) -> list[int]:
    """The first pixels of tiles along a side, at most `gap` (half a tile) apart."""
    gaps = math.ceil((length - tile) / (gap or tile // 2))
    return [0] if gaps == 0 else [round(i * (length - tile) / gaps) for i in range(gaps + 1)]


def _resize(picture: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]) -> np.ndarray:
    if picture.shape[:2] == size and box == (0, 0, size[1], size[0]):
        return picture
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    resized = image.resize(size[::-1], Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    return np.array(resized).reshape(*size, picture.shape[2])


def channels(pictures: np.ndarray, count: int) -> np.ndarray:
    """Pictures uint8 (n, H, W, 1 or 3) as (n, count, H, W); grey is ITU-R 601 luma."""
    have = pictures.shape[3]
    if have == 3 and count == 1:
        luma = pictures @ np.array([0.299, 0.587, 0.114])
        pictures = np.rint(luma).astype(np.uint8)[..., None]
    elif have == 1 and count == 3:
        pictures = np.repeat(pictures, 3, axis=3)
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
