"""A U-Net of plain convolutions for photos of any size: an output depends on pixels within a known distance only.

No normalisation, no attention, no pooling over the whole picture, so that tiles give the same result as the whole; and
no layer at full resolution (Zhang et al. 2018, FFDNet: pixels to depth, and the level as one more channel). The level
may be a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.nets.gauge import NoiseGauge, PlaceGauge
from sfumato.nets.net import PictureNet


@dataclass(frozen=True)
class PlainConfig:
    """channels: of each resolution, finest first; blocks: of two convolutions, at each resolution, down and up; stem:
    space-to-depth factor; colours: channels of a picture; vocabulary: number of tokens of the condition, 0 for none;
    gauge: whether it estimates the noise level too.
    """

    channels: tuple[int, ...] = (48, 96, 160)
    blocks: int = 2
    stem: int = 2
    colours: int = 3
    vocabulary: int = 0
    gauge: bool = False

    @property
    def multiple(self) -> int:
        """A picture's sides must be multiples of this."""
        return self.stem * 2 ** (len(self.channels) - 1)

    @property
    def reach(self) -> int:
        """No pixel further away than this, in pixels, influences the output at a pixel."""
        convolutions = [4 * self.blocks] * len(self.channels)
        convolutions[0] += 2  # the first and the last layer
        return self.multiple + sum(count * self.stem * 2**level for level, count in enumerate(convolutions))


class PlainUNet(PictureNet):
    """F(x, c, tokens): x (N, C, H, W), c (N,) or (N, 1, H, W) the level, tokens (N, 1) or None for no condition.

    The level is one more input channel, sigma / sqrt(1 + sigma^2), on which the thresholds of ReLUs can depend.
    """

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        inner = config.colours * config.stem**2
        kinds = max(0, config.vocabulary - 1)
        self.enter = nn.Conv2d(inner + 1 + kinds, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            if level:
                self.shrink.append(nn.Conv2d(widths[level - 1], width, 2, stride=2))
                self.grow.append(nn.Conv2d(width, 4 * widths[level - 1], 1))
            self.down.append(nn.Sequential(*(Block(width) for _ in range(config.blocks))))
            self.up.append(nn.Sequential(*(Block(width) for _ in range(config.blocks))))
        self.leave = nn.Conv2d(widths[0], inner, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        self.gauge = PlaceGauge(config.colours) if config.gauge else None
        self.register_load_state_dict_pre_hook(_earlier_gauge)

    @property
    def multiple(self) -> int:
        return self.config.multiple

    @property
    def reach(self) -> int:
        return self.config.reach

    def forward(
        self, x: Tensor, c: Tensor, tokens: Tensor | None = None, noisy: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(N, C, H, W) -> (N, C, H, W); with `noisy`, pictures in [-1, 1] scale, also the gauge's ln sigma of them.

        Raises ValueError if a side is not a multiple of `config.multiple`.
        """
        height, width = x.shape[-2:]
        if height % self.config.multiple or width % self.config.multiple:
            raise ValueError(f"{height} x {width} is not a multiple of {self.config.multiple}")
        h = self.enter(self._input(x, c, tokens).contiguous(memory_format=torch.channels_last))
        skips = []
        for level, blocks in enumerate(self.down):
            if level:
                skips.append(h)
                h = self.shrink[level - 1](h)
            h = blocks(h)
        for level in reversed(range(len(self.up))):
            h = self.up[level](h)
            if level:
                h = F.pixel_shuffle(self.grow[level - 1](h), 2).add_(skips.pop())
        out = F.pixel_shuffle(self.leave(h), self.config.stem)
        if noisy is None or self.gauge is None:
            return out
        return out, self.gauge(noisy)

    def _input(self, x: Tensor, c: Tensor, tokens: Tensor | None) -> Tensor:
        stem = self.config.stem
        rows = [F.pixel_unshuffle(x, stem)]
        shape = (len(x), 1, x.shape[2] // stem, x.shape[3] // stem)
        bent = (1 + (-8 * c).exp()).rsqrt()  # sigma / sqrt(1 + sigma^2)
        rows.append(F.avg_pool2d(bent, stem) if c.ndim == 4 else bent.view(-1, 1, 1, 1).expand(shape))
        for word in range(1, self.config.vocabulary):
            chosen = torch.zeros(len(x), device=x.device) if tokens is None else tokens[:, 0] == word
            rows.append(chosen.to(x.dtype).view(-1, 1, 1, 1).expand(shape))
        return torch.cat(rows, 1)


class Block(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.second(F.relu(self.first(x), inplace=True))
        return changed.add_(x)  # in place: allocating large tensors is slow


def _earlier_gauge(net: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Use the kind of gauge whose weights are loaded: earlier versions had a NoiseGauge."""
    assert isinstance(net, PlainUNet)
    if net.gauge is not None and f"{prefix}gauge.middle.weight" in state:
        net.gauge = NoiseGauge(net.config.colours).to(net.leave.weight)
