"""Measures of one photo: a hash and colours by which duplicates are found, and the square with most detail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter, sobel

CHECK_SIDE = 256  # longer side at which sharpness and brightness are measured


@dataclass(frozen=True)
class Crop:
    """The square of a photo that is used for training: its corner and side, in pixels."""

    left: int
    top: int
    side: int


def perceptual_hash(luma: np.ndarray) -> np.ndarray:
    """64 bits, nearly equal for near-duplicates: which low frequencies of the cosine transform exceed the median."""
    small = np.asarray(Image.fromarray(luma.astype(np.uint8)).resize((32, 32), Image.Resampling.LANCZOS), np.float64)
    low = dctn(small, norm="ortho")[:8, :8].ravel()
    bits: np.ndarray = low > np.median(low[1:])
    return bits


def colours(picture: np.ndarray) -> np.ndarray:
    """A picture reduced to 8 x 8 pixels, less its mean, float (8, 8, 3)."""
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).convert("RGB")
    small = np.asarray(image.resize((8, 8), Image.Resampling.BOX, reducing_gap=2.0), np.float64)
    centred: np.ndarray = small - small.mean()
    return centred


def square(picture: np.ndarray) -> Crop:
    """The largest square of a picture, uint8 (H, W, C), with most of its detail, preferably in the middle."""
    height, width = picture.shape[:2]
    side = min(height, width)
    if height == width:
        return Crop(0, 0, side)
    luma = luma_of(picture).astype(np.float64)
    detail = np.hypot(sobel(luma, 0), sobel(luma, 1))
    detail = np.minimum(detail, np.quantile(detail, 0.98))  # one edge is not the subject
    along = gaussian_filter(detail, 2).sum(axis=0 if width > height else 1)
    middle = np.linspace(-1, 1, len(along))
    along = along * (1 - 0.3 * middle**2)
    window = max(1, round(len(along) * side / max(height, width)))
    sums = np.convolve(along, np.ones(window), "valid")
    at = int(np.argmax(sums)) / max(1, len(along) - window)
    start = round(at * (max(height, width) - side))
    return Crop(start, 0, side) if width > height else Crop(0, start, side)


def luma_of(picture: np.ndarray, longer: int = CHECK_SIDE) -> np.ndarray:
    """Luma with `longer` pixels along the longer side, float (h, w)."""
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).convert("L")
    scale = longer / max(image.size)
    size = max(8, round(image.width * scale)), max(8, round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), np.float64)
