"""Noise that is not white: blurred, sharpened, enlarged, stronger in colour, or grain as of film."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato.noises.dice import Dice

REACH = 10  # half-width of the blur's kernel in pixels: 2.5 standard deviations of the widest
WIDEST = 4.0
REDUCED, SHARPENED = 0.8, 0.3  # shares of noise that is smoothed, and sharpened
LUMA = (0.299, 0.587, 0.114)


def blur(x: Tensor, width: Tensor) -> Tensor:
    """Gaussian blur, (N, C, H, W); width: (N, C or 1, 1, 1), the standard deviation in pixels, from 0 to WIDEST."""
    n, c, height, width_ = x.shape
    weights = _weights(width).expand(n, c, 1, -1).reshape(n * c, 1, 1, -1)
    flat = F.pad(x, (REACH, REACH, REACH, REACH), mode="reflect").reshape(1, n * c, height + 2 * REACH, -1)
    return F.conv2d(F.conv2d(flat, weights, groups=n * c), weights.mT, groups=n * c).reshape(n, c, height, width_)


def kept(width: Tensor) -> Tensor:
    """The standard deviation of white noise of 1 after `blur`, of the shape of `width`."""
    return _weights(width).square().sum(3, keepdim=True)


def _weights(width: Tensor) -> Tensor:
    """The weights at -REACH to REACH pixels from the middle, (N, C or 1, 1, 1) -> (N, C or 1, 1, 2 REACH + 1)."""
    k = torch.arange(-REACH, REACH + 1, device=width.device)
    falls = torch.exp(-0.5 * (k / width.clamp_min(1e-3)).square())
    return falls / falls.sum(3, keepdim=True)


def enlarged(x: Tensor, scale: Tensor) -> Tensor:
    """Bilinear enlargement about the middle by scale (N, 1, 1, 1) >= 1, cropped to the original size."""
    n, _, height, width = x.shape
    theta = torch.zeros(n, 2, 3, device=x.device, dtype=x.dtype)
    theta[:, 0, 0] = theta[:, 1, 1] = scale.flatten().reciprocal()
    grid = F.affine_grid(theta, [n, 1, height, width], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def coloured(x0: Tensor, dice: Dice, sigma: Tensor) -> Tensor:
    """Noise of `sigma` (N, 1, 1, 1), stronger in colour than in brightness; the colour noise spans 1 to 6 pixels."""
    n = len(x0)
    width = dice.uniform(n, 0.4, 3.0)
    luma = dice.uniform(n, 0.0, 0.5) * dice.normal(n, 1, *x0.shape[-2:])
    pair = blur(dice.normal(n, 2, *x0.shape[-2:]), width) / kept(width)
    noise = from_ycc(torch.cat([luma, pair], 1))
    return sigma * noise / deviation(noise)


def grain(x0: Tensor, dice: Dice, sigma: Tensor) -> Tensor:
    """Grain of film, the same in all colours: of 0.4 to 1.1 pixels, strongest in the middle tones."""
    n = len(x0)
    width = dice.uniform(n, 0.4, 1.1)
    noise = blur(dice.normal(n, 1, *x0.shape[-2:]), width) / kept(width)
    tone = (luma_of(x0) + 1) / 2
    return (sigma * noise * (0.3 + 2.8 * tone * (1 - tone))).expand_as(x0)


def smeared(x0: Tensor, dice: Dice, sigma: Tensor) -> Tensor:
    """White noise that was blurred or enlarged with its picture, then scaled to `sigma`."""
    n = len(x0)
    width = dice.uniform(n, 0.3, 1.2)
    noise = dice.normal(*x0.shape)
    noise = torch.where(dice.coin(n, 0.5), blur(noise, width), enlarged(noise, dice.uniform(n, 1.0, 2.5)))
    return sigma * noise / deviation(noise)


def processed(noise: Tensor, dice: Dice) -> Tensor:
    """Noise (N, 3, H, W) after a camera's noise reduction and sharpening: smoothed, most in colour, then sharpened.

    The widths give the correlation of noise in files of two Canon cameras (PolyU, Xu et al. 2018): 0.65
    from pixel to pixel in brightness, 0.9 in colour, 0.6 over four pixels there.
    """
    n = len(noise)
    planes = to_ycc(noise)
    luma, colour = dice.uniform(n, 0.3, 1.4), dice.uniform(n, 0.8, WIDEST)
    smooth = blur(planes, torch.cat([luma, colour, colour], 1))
    planes = torch.where(dice.coin(n, REDUCED), smooth, planes)
    lift = dice.coin(n, SHARPENED) * dice.uniform(n, 0.2, 1.2)
    planes = planes + lift * (planes - blur(planes, dice.uniform(n, 0.6, 1.6)))
    return from_ycc(planes)


def deviation(noise: Tensor) -> Tensor:
    """The root mean square of each picture's noise, (N, 1, 1, 1)."""
    return noise.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)


def luma_of(x: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 1, H, W)."""
    r, g, b = x.split(1, 1)
    return LUMA[0] * r + LUMA[1] * g + LUMA[2] * b


def to_ycc(x: Tensor) -> Tensor:
    """Differences of colours as Y, Cb, Cr."""
    y = luma_of(x)
    return torch.cat([y, (x[:, 2:] - y) / 1.772, (x[:, :1] - y) / 1.402], 1)


def from_ycc(x: Tensor) -> Tensor:
    """The inverse of `to_ycc`."""
    y, cb, cr = x.split(1, 1)
    r, b = y + 1.402 * cr, y + 1.772 * cb
    return torch.cat([r, (y - LUMA[0] * r - LUMA[2] * b) / LUMA[1], b], 1)
