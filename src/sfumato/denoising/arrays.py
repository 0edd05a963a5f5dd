"""Converts pictures (numpy, torch, PIL; 8 bits, 16 bits or [0, 1]) to the tensors of networks, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sfumato.errors import UserError

P = TypeVar("P", np.ndarray, Tensor, Image.Image)
MODES = ("L", "RGB", "LA", "RGBA", "I;16")


@dataclass(frozen=True)
class Taken(Generic[P]):
    """A picture as a tensor.

    x: float32 (N, C, H, W) in [-1, 1] scale, C = 1 or 3; whole: the given values were whole numbers, whose noise is
    always clipped; back(y): y, of x's shape, in the form of the given picture; overwrites y.
    """

    x: Tensor
    whole: bool
    back: Callable[[Tensor], P]


def take(given: P) -> Taken[P]:
    """Convert a picture or a batch of them.

    numpy (H, W), (H, W, C) or (N, H, W, C) and torch (C, H, W) or (N, C, H, W), uint8, uint16 or floats with white at
    1; PIL in the modes of MODES, with its alpha unchanged. Raises UserError on other types and modes, and on NaN.
    """
    if isinstance(given, Image.Image):
        return _pil(given)
    if isinstance(given, np.ndarray):
        return _array(given)
    if isinstance(given, Tensor):
        return _tensor(given)
    raise UserError(f"{type(given).__name__} is not a picture: give a numpy array, a torch tensor or a PIL image")


def _array(given: np.ndarray) -> Taken[np.ndarray]:
    if given.ndim not in (2, 3, 4) or (given.ndim > 2 and given.shape[-1] not in (1, 3)):
        raise UserError(f"an array of shape {given.shape}: pictures are (H, W), (H, W, C) or (N, H, W, C), C 1 or 3")
    shaped = given[None, :, :, None] if given.ndim == 2 else given[None] if given.ndim == 3 else given
    native = given.dtype.newbyteorder("=")
    try:
        tensor = torch.from_numpy(np.array(shaped.transpose(0, 3, 1, 2), native, order="C"))
    except TypeError as error:
        raise UserError(f"values of type {given.dtype}: give uint8, uint16, or floats with white at 1") from error

    def back(y: Tensor) -> np.ndarray:
        return y.permute(0, 2, 3, 1).reshape(given.shape).cpu().numpy().astype(given.dtype)

    return _scaled(tensor, back)


def _tensor(given: Tensor) -> Taken[Tensor]:
    if given.ndim not in (3, 4) or given.shape[-3] not in (1, 3):
        raise UserError(f"a tensor of shape {tuple(given.shape)}: pictures are (C, H, W) or (N, C, H, W), C 1 or 3")
    tensor = (given[None] if given.ndim == 3 else given).detach()
    return _scaled(tensor, lambda y: y.reshape(given.shape).to(given.device, given.dtype))


def _scaled(tensor: Tensor, back: Callable[[Tensor], P]) -> Taken[P]:
    if not tensor.numel():
        raise UserError(f"a picture of shape {tuple(tensor.shape)} has no pixels")
    if tensor.dtype in (torch.uint8, torch.uint16):
        top = 255 if tensor.dtype == torch.uint8 else 65535
        kind = tensor.dtype

        def rounded(y: Tensor) -> P:
            return back(y.add_(1).mul_(top / 2).round_().clamp_(0, top).to(kind))

        return Taken(tensor.float().mul_(2 / top).sub_(1), True, rounded)
    if not tensor.is_floating_point():
        raise UserError(f"values of type {tensor.dtype}: give uint8, uint16, or floats with white at 1")
    if not tensor.isfinite().all():
        raise UserError("the picture holds values that are not finite (NaN or inf): mend them first")
    most = float(tensor.abs().max())
    if most > 10:
        raise UserError(f"values up to {most:g}: floats have white at 1; give uint8, or divide by 255")
    return Taken(tensor.float() * 2 - 1, False, lambda y: back(y.add_(1).div_(2)))


def _pil(image: Image.Image) -> Taken[Image.Image]:
    if image.mode not in MODES:
        raise UserError(f"a PIL image of mode {image.mode}: convert it to one of {', '.join(MODES)}")
    bands, alpha = image, None
    if image.mode in ("LA", "RGBA"):
        alpha = image.getchannel("A")
        bands = image.getchannel("L") if image.mode == "LA" else image.convert("RGB")
    array = np.asarray(bands)
    array = array[:, :, None] if array.ndim == 2 else array

    def assembled(y: np.ndarray) -> Image.Image:
        made = Image.fromarray(y[:, :, 0] if y.shape[2] == 1 else y)
        if alpha is not None:
            made = made.convert(image.mode)
            made.putalpha(alpha)
        made.info = dict(image.info)
        return made

    taken = take(array)
    return Taken(taken.x, taken.whole, lambda y: assembled(taken.back(y)))
