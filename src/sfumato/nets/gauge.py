"""Small networks that read the noise level from a picture, so that a denoiser need not be given it."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FLOOR = -6.3  # ln of a quarter of 1/255 in [-1, 1] scale, a little below: almost nothing
STEP = 1 / 255  # size of details below which the input is linear in them, and above which logarithmic
SURE = 5.0  # largest absolute value of a place's ln weight


class NoiseGauge(nn.Module):
    """ln sigma of the noise on a picture, read from the picture: (N, C, H, W) in [-1, 1] scale -> (N,)."""

    side = 0  # it needs whole pictures

    def __init__(self, colours: int = 3, width: int = 48) -> None:
        super().__init__()
        self.enter = nn.Conv2d(4 * colours, width, 3, padding=1)
        self.middle = nn.Conv2d(width, width, 3, padding=1)
        self.narrow = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.leave = nn.Linear(4 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.middle(F.relu(self.enter(F.pixel_unshuffle(x, 2)))))
        h = F.relu(self.narrow(h))
        return self.leave(torch.cat([h.mean((2, 3)), h.std((2, 3))], 1))[:, 0]

    def votes(self, x: Tensor) -> Tensor:
        """(N, 2): ln sigma, with a weight of 1."""
        read = self(x)
        return torch.stack([read, torch.ones_like(read)], 1)


class PlaceGauge(nn.Module):
    """ln sigma of the noise on a photo, read place by place, so that flat areas can count more than texture.

    For each place of 8 x 8 pixels there is a level and a weight, from a field of some 100 pixels; a picture's level is
    the weighted mean, so that the results of separate parts of a photo can be combined.
    """

    side = 160  # side of the parts of a large photo that are read, in pixels

    def __init__(self, colours: int = 3, width: int = 32) -> None:
        super().__init__()
        self.enter = nn.Conv2d(5 * colours, width, 3, padding=1)
        widths = (width, 2 * width, 3 * width)
        self.blocks = nn.ModuleList(nn.Conv2d(w, w, 3, padding=1) for w in widths for _ in range(2))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in itertools.pairwise(widths))
        self.leave = nn.Conv2d(widths[-1], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] scale, sides multiples of 8 -> (N,) ln sigma."""
        votes = self.votes(x)
        return votes[:, 0] / votes[:, 1]

    def votes(self, x: Tensor) -> Tensor:
        """(N, 2): the sum over the places of weight times ln sigma, and of the weights."""
        level, weight = self.places(x)
        return torch.stack([(weight * level).sum((1, 2)), weight.sum((1, 2))], 1)

    def places(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """For each place, (N, H / 8, W / 8): ln sigma, and its weight in [exp(-SURE), exp(SURE)]."""
        h = F.relu(self.enter(_details(x)))
        for k, block in enumerate(self.blocks):
            if k and k % 2 == 0:
                h = self.shrink[k // 2 - 1](h)
            h = h + F.relu(block(h))
        out = self.leave(h).float()
        level = FLOOR + F.softplus(out[:, 0] + 3.0)
        return level, (SURE * torch.tanh(out[:, 1] / SURE)).exp()


def _details(x: Tensor) -> Tensor:
    """Haar details of 2 x 2 pixels and of their means, (N, C, H, W) -> (N, 5 C, H / 2, W / 2), on a scale that resolves
    noise from a fraction of 1/255 to a third of white; and the means themselves.
    """
    a, b, c, d = (x[..., y::2, z::2] for y in (0, 1) for z in (0, 1))
    mean = (a + b + c + d) / 4
    around = F.avg_pool2d(mean, 3, 1, 1, count_include_pad=False)
    fine = torch.cat([a + b - c - d, a - b + c - d, a - b - c + d, 3 * (mean - around)], 1) / 2
    return torch.cat([torch.asinh(fine / STEP) / 2, mean], 1)
