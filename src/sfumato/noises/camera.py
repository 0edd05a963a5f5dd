"""The noise of a camera: in linear light, before colours are interpolated and balanced.

After Brooks et al. 2019 ("Unprocessing images for learned raw denoising"): a picture is converted back to linear light
of a sensor, gets the sensor's noise, and is developed again.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato.noises.dice import Dice

SHOT = (3e-7, 0.05)  # noise variance per unit of light; Brooks et al.: 1e-4 to 0.012, the range of one sensor
READ_SLOPE, READ_OFFSET, READ_SPREAD = 2.18, 1.20, 0.26  # ln of the read noise's variance by ln of the shot noise's
GAIN, GAIN_SPREAD = 0.8, 0.1  # inverse of the brightness gain: mean and standard deviation
RED, BLUE = (1.9, 2.4), (1.5, 1.9)  # ranges of the white balance's gains
CROSSTALK = 0.45  # largest share of another channel in a colour matrix
CFA_ERROR = 0.25  # share of pictures whose detail is interpolated too; in the others only the noise is
NO_CFA = 0.15  # share whose sensor has all colours at each pixel


def camera(x0: Tensor, dice: Dice) -> Tensor:
    """Clean pictures (N, 3, H, W) in [-1, 1] with camera noise of any strength.

    Where a picture's detail is interpolated, the error of interpolation counts as noise.
    """
    n = len(x0)
    matrix = _matrices(n, dice)
    gain = dice.gauss(n).mul(GAIN_SPREAD).add(GAIN).clamp(0.4, 1.2).reciprocal()
    one = torch.ones_like(gain)
    balance = gain * torch.cat([dice.uniform(n, *RED), one, dice.uniform(n, *BLUE)], 1)
    light = _times(_inverse(matrix), linear((x0 + 1) / 2)) / balance
    shot = dice.log_uniform(n, *SHOT)
    read = (READ_SLOPE * shot.log() + READ_OFFSET + READ_SPREAD * dice.gauss(n)).exp()
    noise = (read + shot * light.clamp_min(0)).sqrt() * dice.normal(*x0.shape)
    bayer = Bayer(x0.shape[-2:], dice.coin(n, 0.5), dice.coin(n, 0.5))
    sharp = dice.coin(n, 0.6)
    coloured = torch.where(dice.coin(n, NO_CFA), noise, bayer.interpolate(bayer.mosaic(noise), sharp))
    ground = torch.where(dice.coin(n, CFA_ERROR), bayer.interpolate(bayer.mosaic(light), sharp), light)
    developed = _times(matrix, (ground + coloured) * balance)
    return 2 * curve(developed.clamp(0, 1)) - 1


def linear(x: Tensor) -> Tensor:
    """sRGB values to linear light, both in [0, 1] (IEC 61966-2-1)."""
    return torch.where(x <= 0.04045, x / 12.92, ((x.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def curve(x: Tensor) -> Tensor:
    """Linear light to sRGB values, the inverse of `linear`."""
    return torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def _matrices(n: int, dice: Dice) -> Tensor:
    """Random matrices (n, 3, 3) from a sensor's colours to sRGB: white is kept, other colours are saturated."""
    taken = CROSSTALK * torch.rand((n, 3, 3), generator=dice.own, device=dice.device)
    taken = taken * (1 - torch.eye(3, device=dice.device))
    return torch.diag_embed(1 + taken.sum(2)) - taken


def _inverse(matrix: Tensor) -> Tensor:
    """The inverse of matrices (n, 3, 3), by cross products, without a linear algebra library."""
    a, b, c = matrix.unbind(1)
    crossed = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], 2)
    return crossed / (a * crossed[:, :, 0]).sum(1).view(-1, 1, 1)


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """(N, 3, 3) times the colours of (N, 3, H, W)."""
    return torch.einsum("nij,njhw->nihw", matrix, x)


class Bayer:
    """A red, green, green, blue pattern over pictures of `size`; down, right: (N, 1, 1, 1) bool, its offset."""

    def __init__(self, size: tuple[int, int] | torch.Size, down: Tensor, right: Tensor) -> None:
        y = (torch.arange(size[0], device=down.device).view(1, 1, -1, 1) + down.long()) % 2 == 0
        x = (torch.arange(size[1], device=down.device).view(1, 1, 1, -1) + right.long()) % 2 == 0
        self.red, self.blue = y & x, ~y & ~x
        self.red_row, self.blue_row = y & ~x, ~y & x  # green pixels in rows with red and with blue

    def mosaic(self, x: Tensor) -> Tensor:
        """The colour that the sensor measures at each pixel, (N, 3, H, W) -> (N, 1, H, W)."""
        r, g, b = x.split(1, 1)
        return torch.where(self.red, r, torch.where(self.blue, b, g))

    def interpolate(self, m: Tensor, sharp: Tensor) -> Tensor:
        """All three colours from one per pixel, (N, 1, H, W) -> (N, 3, H, W).

        sharp: (N, 1, 1, 1) bool: true: the linear filters of Malvar, He and Cutler 2004 (figure 2); false: the mean of
        the nearest pixels of that colour.
        """
        wide = F.conv2d(F.pad(m, (2, 2, 2, 2), mode="reflect"), _filters(m.device).to(m.dtype))
        green, across, along, aslant = torch.where(sharp, wide[:, :4], wide[:, 4:]).split(1, 1)
        red = torch.where(self.red, m, torch.where(self.red_row, across, torch.where(self.blue_row, along, aslant)))
        blue = torch.where(self.blue, m, torch.where(self.blue_row, across, torch.where(self.red_row, along, aslant)))
        return torch.cat([red, torch.where(self.red | self.blue, green, m), blue], 1)


@functools.lru_cache(maxsize=4)
def _filters(device: torch.device) -> Tensor:
    """(8, 1, 5, 5): green at red or blue; a colour from left and right; from above and below; from the corners - first
    Malvar, He and Cutler's, then bilinear.
    """
    green = [[0, 0, -2, 0, 0], [0, 0, 4, 0, 0], [-2, 4, 8, 4, -2], [0, 0, 4, 0, 0], [0, 0, -2, 0, 0]]
    across = [[0, 0, 1, 0, 0], [0, -2, 0, -2, 0], [-2, 8, 10, 8, -2], [0, -2, 0, -2, 0], [0, 0, 1, 0, 0]]
    aslant = [[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]]
    plain = torch.zeros(4, 5, 5)
    for y, x in ((1, 2), (3, 2), (2, 1), (2, 3)):
        plain[0, y, x] = 0.25
        plain[1 if y == 2 else 2, y, x] = 0.5
        plain[3, y if y != 2 else x, x if x != 2 else 4 - y] += 0.25
    along = [list(row) for row in zip(*across, strict=True)]
    best = torch.tensor([green, across, along, aslant], dtype=torch.float32) / 16
    return torch.cat([best, plain])[:, None].to(device)
