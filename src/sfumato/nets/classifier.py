"""A small classifier whose pooled features the judge measures distances on.

It normalises its weights rather than its activations (Brock et al. 2021, section 4.1): there are no running
statistics, so that averaged weights (EMA) work as they are, a picture's features do not depend on its batch,
and no time goes into memory-bound layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class ClassifierConfig:
    """channels: of each level, multiples of 32; each level has half the resolution of the one before, the
    first half that of the picture; blocks: residual blocks a level; stem: channels at full resolution.
    """

    classes: int = 10
    stem: int = 32
    channels: tuple[int, ...] = (64, 128, 256)
    blocks: tuple[int, ...] = (1, 1, 0)


class Classifier(nn.Module):
    """x: float (N, 3, 32, 32) in [-1, 1] -> logits (N, classes)."""

    def __init__(self, config: ClassifierConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ClassifierConfig()
        c = config.stem
        layers: list[nn.Module] = [StandardisedConv(3, c)]
        for level, (width, blocks) in enumerate(zip(config.channels, config.blocks, strict=True)):
            layers.append(StandardisedConv(c, width, 3 if level else 2, stride=2))
            layers += [Residual(width) for _ in range(blocks)]
            c = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(c, config.classes)

    @property
    def dim(self) -> int:
        """Length of the features."""
        return self.head.in_features

    def features(self, x: Tensor) -> Tensor:
        """float32 (N, dim): the last level averaged over the picture, not negative."""
        return self.layers(x).float().mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class StandardisedConv(nn.Module):
    """Convolution and ReLU; each filter is brought to mean 0 and norm `gain`, which is learned.

    With gain sqrt(2) the ReLU's output has the second moment of its input (He et al. 2015, eq. 10).
    """

    def __init__(self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, kernel, kernel) / math.sqrt(c_in * kernel * kernel))
        self.gain = nn.Parameter(torch.full((c_out,), gain))
        self.bias = nn.Parameter(torch.zeros(c_out))
        self.stride, self.padding = stride, (kernel - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        rows = self.weight.flatten(1)
        rows = F.normalize(rows - rows.mean(1, keepdim=True), dim=1) * self.gain[:, None]
        weight = rows.view_as(self.weight).contiguous(memory_format=torch.channels_last)
        return F.relu(F.conv2d(x, weight, self.bias, self.stride, self.padding), inplace=True)


class Residual(nn.Module):
    """x + two convolutions, the second quieter at first so that the sum grows slowly."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            StandardisedConv(channels, channels), StandardisedConv(channels, channels, gain=0.5)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def cropped(x: Tensor, generator: torch.Generator, pad: int = 2) -> Tensor:
    """Each picture (N, C, H, W) moved at random by up to `pad` pixels, its border mirrored: the usual
    CIFAR-10 augmentation.
    """
    n, _, height, width = x.shape
    dy, dx = torch.randint(0, 2 * pad + 1, (2, n), generator=generator, device=generator.device).to(x.device)
    rows = dy[:, None, None] + torch.arange(height, device=x.device)[:, None]
    columns = dx[:, None, None] + torch.arange(width, device=x.device)
    pictures = torch.arange(n, device=x.device)[:, None, None]
    padded = F.pad(x, (pad,) * 4, mode="reflect").permute(0, 2, 3, 1)
    return padded[pictures, rows, columns].permute(0, 3, 1, 2)  # channels_last
