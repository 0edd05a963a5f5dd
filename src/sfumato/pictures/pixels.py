"""The two scales of pictures, 0 to 255 in stores and files and [-1, 1] in networks; and PSNR."""

from __future__ import annotations

import torch
from torch import Tensor


def from_uint8(pictures: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pictures of 0 to 255, any shape, as a new tensor of `dtype` in [-1, 1]: x / 127.5 - 1."""
    x = pictures.to(dtype)
    return (x.clone() if x is pictures else x).div_(127.5).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """Float pictures in [-1, 1], any shape, to uint8 on the CPU: round((x + 1) * 127.5), clamped to 0..255."""
    return x.detach().float().add(1).mul(127.5).round().clamp(0, 255).to("cpu", torch.uint8)


def psnr(error: Tensor, span: float) -> Tensor:
    """10 log10(span^2 / error), in dB, of mean squared errors of any shape.

    span: the range of a picture's values: 255 for uint8, 2 for [-1, 1], 1 for [0, 1].
    """
    return 10 * (span**2 / error).log10()
