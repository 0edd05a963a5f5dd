"""Where the thing is in a picture: where the picture has detail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import sobel
from torch import Tensor

TAIL = 0.02  # share of the detail that may be outside the box on each side
ROOM, LEAST = 1.1, 0.2  # side of a crop relative to the thing; least side relative to the picture
NEAR = 40  # of 255: largest difference of a plain background's colours from their median
PLAIN = 0.6  # share of the border that must be within NEAR for a plain background
GREY = 128


@dataclass(frozen=True)
class Box:
    """The box of a thing in a picture, in shares of its sides."""

    top: float
    bottom: float
    left: float
    right: float

    @property
    def longer(self) -> float:
        return max(self.bottom - self.top, self.right - self.left)


def find(picture: np.ndarray) -> Box:
    """The box that contains the detail of a picture, uint8 (3, H, W)."""
    values = picture.astype(np.float64)
    detail = np.hypot(sobel(values, 1), sobel(values, 2)).sum(0)
    return Box(*_span(detail.sum(1)), *_span(detail.sum(0)))


def cut(pictures: Tensor) -> Tensor:
    """Square crops around the detail of pictures, resized to the pictures' size, plain backgrounds grey; uint8 (N, 3,
    H, W).
    """
    crops = []
    for picture in map(bare, pictures.cpu().numpy()):
        height, width = picture.shape[1:]
        box = find(picture)
        side = max(LEAST, ROOM * box.longer) * max(height, width)
        y, x = (box.top + box.bottom) / 2 * height + height, (box.left + box.right) / 2 * width + width
        wide = np.pad(picture.transpose(1, 2, 0), ((height, height), (width, width), (0, 0)), mode="edge")
        square = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
        image = Image.fromarray(wide).resize((width, height), Image.Resampling.LANCZOS, square)
        crops.append(torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy()))
    return torch.stack(crops)


def bare(picture: np.ndarray) -> np.ndarray:
    """The picture, uint8 (3, H, W), with a background of one colour made grey; other backgrounds are kept."""
    edges = (picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1])
    border = np.concatenate(edges, axis=1).astype(np.float64)
    colour = np.median(border, axis=1)
    if (np.abs(border - colour[:, None]).max(0) <= NEAR).mean() < PLAIN:
        return picture
    behind = np.abs(picture - colour[:, None, None]).max(0) <= NEAR
    return np.where(behind, np.uint8(GREY), picture)


def _span(along: np.ndarray) -> tuple[float, float]:
    """The range of an axis, in shares, without TAIL of the detail at each end."""
    mass = np.cumsum(along) / max(along.sum(), 1e-9)
    low, high = np.searchsorted(mass, (TAIL, 1 - TAIL))
    return float(low) / len(along), float(high + 1) / len(along)
