"""A small network that reads the noise level from a picture, so that a denoiser need not be told."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NoiseGauge(nn.Module):
    """ln sigma of the noise on a picture, read from the picture: (N, C, H, W) in [-1, 1] scale -> (N,)."""

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
