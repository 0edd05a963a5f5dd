"""The loss of JPEG on a batch of pictures, without writing files (ITU-T T.81, JFIF)."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

# Tables K.1 and K.2 of ITU-T T.81, which libjpeg scales by quality
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8 for _ in range(4)),
)
BLOCK = 8


def jpeg(x: Tensor, quality: Tensor, halved: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
    """Pictures after being saved as JPEG and read again, (N, 3, H, W) in [-1, 1].

    quality: (N,) from 1 to 100 as in libjpeg; halved: (N,) bool, colour at half resolution (4:2:0) or full
    (4:4:4); shift: offset (down, right) within the first block, as if the picture were cut from a larger one.
    """
    height, width = x.shape[-2:]
    top, left = shift
    side = 2 * BLOCK
    x = F.pad(x, (left, -(left + width) % side, top, -(top + height) % side), mode="replicate")
    planes = ycc((x + 1) * 127.5).round_().clamp_(0, 255)
    tables = _tables(quality)
    luma = _coded(planes[:, :1], tables[:, :1])
    whole = _coded(planes[:, 1:], tables[:, 1:])
    half = _coded(F.avg_pool2d(planes[:, 1:], 2).round_(), tables[:, 1:])
    half = F.interpolate(half, scale_factor=2.0, mode="bilinear", align_corners=False).round_()  # 3/4 and 1/4
    colour = torch.where(halved.view(-1, 1, 1, 1), half, whole)
    back = rgb(torch.cat([luma, colour], 1)).round_().clamp_(0, 255)
    return back[..., top : top + height, left : left + width] / 127.5 - 1


def ycc(x: Tensor) -> Tensor:
    """R, G, B in [0, 255] as Y, Cb, Cr with the colours around 128 (JFIF 1.02, page 3)."""
    r, g, b = x.unbind(1)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return torch.stack([y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128], 1)


def rgb(x: Tensor) -> Tensor:
    """The inverse of `ycc`."""
    y, cb, cr = x.unbind(1)
    cb, cr = cb - 128, cr - 128
    r, b = y + 1.402 * cr, y + 1.772 * cb
    return torch.stack([r, y - (0.299 * 1.402 * cr + 0.114 * 1.772 * cb) / 0.587, b], 1)


def _tables(quality: Tensor) -> Tensor:
    """The quantisation tables of Y, Cb, Cr, (N, 3, 8, 8), by libjpeg's rule."""
    q = quality.round().clamp(1, 100).view(-1, 1, 1, 1)
    scale = torch.where(q < 50, (5000 / q).floor(), 200 - 2 * q)
    base = _constants(quality.device)[1]
    return ((base * scale + 50) / 100).floor().clamp(1, 255)


def _coded(planes: Tensor, tables: Tensor) -> Tensor:
    """Planes (N, C, H, W) in [0, 255] through the rounded cosine transform of each block; tables (N, C, 8, 8)."""
    cosine = _constants(planes.device)[0]
    n, c, height, width = planes.shape
    down, right = height // BLOCK, width // BLOCK
    rows = cosine @ (planes - 128).reshape(n, c, down, BLOCK, width)
    both = rows.reshape(n, c, down, BLOCK, right, BLOCK) @ cosine.mT
    steps = tables[:, :, None, :, None, :]
    kept = (both / steps).round_() * steps
    rows = (kept @ cosine).reshape(n, c, down, BLOCK, width)
    return ((cosine.mT @ rows).reshape(n, c, height, width) + 128).round_().clamp_(0, 255)


@functools.lru_cache(maxsize=4)
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """The cosine transform's matrix (8, 8), and the tables at quality 50, (1, 3, 8, 8)."""
    k = torch.arange(BLOCK, dtype=torch.float64)
    matrix = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    matrix[0] /= math.sqrt(2)
    tables = torch.tensor([LUMA, CHROMA, CHROMA], dtype=torch.float32)[None]
    return matrix.float().to(device), tables.to(device)
