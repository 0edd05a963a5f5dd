"""The pixel U-Net, fast on CPUs and on GPUs.

Most of the time goes into 3 x 3 convolutions: one normalisation a block instead of two, modulation as one fused
multiply-add, channels_last throughout, scaled-dot-product attention, and an optional space-to-depth stem that runs
everything at half or a quarter of the resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.nets.condition import TokenTable
from sfumato.nets.gauge import NoiseGauge
from sfumato.nets.net import PictureNet


@dataclass(frozen=True)
class UNetConfig:
    """The shape of a U-Net.

    channels: of each resolution, finest first, multiples of 8; each has half the resolution of the one before;
    blocks: residual blocks at each resolution, down and up; attention: at each resolution; stem: space-to-depth factor;
    places: add an encoding of its position to every place; shortcut: add the input to the output with a learned weight
    that depends on the level, so that noise need not pass through narrow layers; colours: channels of a picture;
    vocabulary, length: of the condition's tokens (0: unconditional); gauge: whether it estimates the noise level too.
    Raises ValueError for other channels, or if attention is not as long as channels.
    """

    channels: tuple[int, ...] = (64, 128)
    blocks: int = 2
    attention: tuple[bool, ...] = (False, True)
    stem: int = 1
    dropout: float = 0.0
    places: bool = False
    shortcut: bool = False
    colours: int = 3
    vocabulary: int = 0
    length: int = 1
    gauge: bool = False

    def __post_init__(self) -> None:
        if not self.channels or any(width < 8 or width % 8 for width in self.channels):
            raise ValueError(f"channels {list(self.channels)} are not positive multiples of 8")
        if len(self.attention) != len(self.channels):
            raise ValueError(f"{len(self.channels)} levels of channels and {len(self.attention)} of attention")

    @property
    def multiple(self) -> int:
        """A picture's sides must be multiples of this."""
        return self.stem * 2 ** (len(self.channels) - 1)


PLACES = 4  # octaves of the encoding of positions

PRESETS: dict[str, UNetConfig] = {
    "tiny": UNetConfig((32, 64, 96), 1, (False, False, True), stem=2),
    "small": UNetConfig((96, 160), 1, (False, True), stem=2),
    "medium": UNetConfig((96, 160), 2, (False, True), stem=2),
    "large": UNetConfig((128, 256, 256), 3, (False, True, True), stem=1),
    "huge": UNetConfig((192, 320, 320), 3, (False, True, True), stem=1),
}


class UNet(PictureNet):
    """F(x, c, tokens): x (N, C, H, W), c (N,) the level as a number of order one, tokens (N, length) or None."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        c0 = config.channels[0]
        width = 4 * c0
        self.fourier = Fourier(c0)
        self.embed = nn.Sequential(nn.Linear(c0, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.condition = TokenTable(config.vocabulary, config.length, width) if config.vocabulary else None
        context = width if config.vocabulary and config.length > 1 else 0
        inner = config.colours * config.stem**2
        self.enter = nn.Conv2d(inner, c0, 3, padding=1)
        self.places = zeroed(nn.Conv2d(4 * PLACES, c0, 1)) if config.places else None

        def block(cin: int, cout: int, level: int) -> Block:
            return Block(cin, cout, width, config.dropout, config.attention[level], context)

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips: list[int] = []
        c = c0
        for level, channels in enumerate(config.channels):
            if level:
                self.down.append(Down(c, channels))
                c = channels
            for _ in range(config.blocks):
                self.down.append(block(c, channels, level))
                c = channels
                skips.append(c)
        bottom = len(config.channels) - 1
        self.middle = nn.ModuleList([block(c, c, bottom), block(c, c, bottom)])
        for level, channels in reversed(list(enumerate(config.channels))):
            for _ in range(config.blocks):
                self.up.append(block(c + skips.pop(), channels, level))
                c = channels
            if level:
                self.up.append(Up(c, config.channels[level - 1]))
                c = config.channels[level - 1]
        self.shortcut = zeroed(nn.Linear(width, 1)) if config.shortcut else None
        self.norm = norm(c)
        self.leave = zeroed(nn.Conv2d(c, inner, 3, padding=1))
        self.gauge = NoiseGauge(config.colours) if config.gauge else None

    @property
    def multiple(self) -> int:
        return self.config.multiple

    def forward(
        self, x: Tensor, c: Tensor, tokens: Tensor | None = None, noisy: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(N, C, H, W) -> (N, C, H, W); with `noisy`, pictures in [-1, 1] scale, also the gauge's ln sigma of them.

        Raises ValueError if a side is not a multiple of `config.multiple`.
        """
        height, width = x.shape[-2:]
        if height % self.config.multiple or width % self.config.multiple:
            raise ValueError(f"{height} x {width} is not a multiple of {self.config.multiple}")
        emb, bound = self.embed(self.fourier(c)), None
        if self.condition is not None:
            vector, bound = self.condition(tokens, len(x), x.device)
            emb = emb + vector
        h = F.pixel_unshuffle(x, self.config.stem) if self.config.stem > 1 else x
        h = self.enter(h.contiguous(memory_format=torch.channels_last))
        if self.places is not None:
            h = h + self.places(waves(h.shape[2], h.shape[3], h.device).to(self.enter.weight.dtype))
        skips = []
        for layer in self.down:
            h = layer(h, emb, bound)
            if isinstance(layer, Block):
                skips.append(h)
        for layer in self.middle:
            h = layer(h, emb, bound)
        for layer in self.up:
            if isinstance(layer, Block):
                h = torch.cat([h, skips.pop()], 1)
            h = layer(h, emb, bound)
        h = self.leave(F.silu(self.norm(h)))
        h = F.pixel_shuffle(h, self.config.stem) if self.config.stem > 1 else h
        if self.shortcut is not None:
            with torch.autocast(x.device.type, enabled=False):  # bf16 has too few digits for the noise of a picture
                h = h + self.shortcut(emb.to(x.dtype))[:, :, None, None] * x
        return h if noisy is None or self.gauge is None else (h, self.gauge(noisy))


class Block(nn.Module):
    """x + conv(silu(modulate(conv(silu(norm(x)))))), then attention if set."""

    def __init__(
        self, cin: int, cout: int, width: int, dropout: float = 0.0, attention: bool = False, context: int = 0
    ) -> None:
        super().__init__()
        self.norm = norm(cin)
        self.first = nn.Conv2d(cin, cout, 3, padding=1)
        self.modulate = zeroed(nn.Linear(width, 2 * cout))
        self.dropout = nn.Dropout(dropout)
        self.second = zeroed(nn.Conv2d(cout, cout, 3, padding=1))
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()
        self.attention = Attention(cout) if attention else None
        self.cross = Attention(cout, context) if attention and context else None

    def forward(self, x: Tensor, emb: Tensor, tokens: Tensor | None = None) -> Tensor:
        scale, shift = self.modulate(emb)[:, :, None, None].chunk(2, 1)
        h = self.first(F.silu(self.norm(x)))
        h = self.second(self.dropout(F.silu(torch.addcmul(h + shift, h, scale))))
        h = self.skip(x) + h
        if self.attention is not None:
            h = self.attention(h)
        if self.cross is not None:
            h = self.cross(h, tokens)
        return h


class Attention(nn.Module):
    """Multi-head attention from positions to positions, or to the tokens of the condition (N, L, context)."""

    def __init__(self, channels: int, context: int = 0, head: int = 32) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(max(1, channels // head), 0, -1) if channels % heads == 0)
        self.norm = norm(channels)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(context or channels, 2 * channels, bias=False)
        self.leave = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, tokens: Tensor | None = None) -> Tensor:
        n, c, height, width = x.shape
        h = self.norm(x).permute(0, 2, 3, 1).reshape(n, height * width, c)
        q = self._split(self.query(h))
        k, v = (self._split(t) for t in self.key_value(h if tokens is None else tokens.to(h.dtype)).chunk(2, -1))
        out = attend(q, k, v).transpose(1, 2).reshape(n, height * width, c)
        return x + self.leave(out).reshape(n, height, width, c).permute(0, 3, 1, 2)

    def _split(self, t: Tensor) -> Tensor:
        return t.reshape(*t.shape[:2], self.heads, -1).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v. On a CPU the fused kernel's backward pass is far slower than plain products."""
    if q.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1).to(v.dtype) @ v


class Down(nn.Module):
    """Half the resolution: space-to-depth and a 1 x 1 convolution."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 2, stride=2)

    def forward(self, x: Tensor, emb: Tensor, tokens: Tensor | None = None) -> Tensor:
        return self.conv(x)


class Up(nn.Module):
    """Twice the resolution: a 1 x 1 convolution at the lower one, then nearest-neighbour copies."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 1)

    def forward(self, x: Tensor, emb: Tensor, tokens: Tensor | None = None) -> Tensor:
        return F.interpolate(self.conv(x), scale_factor=2, mode="nearest")


class Fourier(nn.Module):
    """Sines and cosines of a number at `width / 2` frequencies from 1 to 64 (fixed), (N,) -> (N, width)."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 64 ** torch.linspace(0, 1, width // 2), persistent=False)

    def forward(self, c: Tensor) -> Tensor:
        angles = c[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], 1) * math.sqrt(2)


def waves(height: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines of each pixel's position, with 1/2 to 2^(PLACES - 2) periods a side, (1, 4 PLACES, H, W)."""
    rows = []
    for axis, side in enumerate((height, width)):
        at = (torch.arange(side, device=device) + 0.5) / side * math.pi
        angles = at * 2 ** torch.arange(PLACES, device=device)[:, None]
        both = torch.cat([angles.sin(), angles.cos()])
        rows.append((both[:, :, None] if axis == 0 else both[:, None, :]).expand(2 * PLACES, height, width))
    return torch.cat(rows)[None]


def norm(channels: int) -> nn.GroupNorm:
    """Group normalisation in groups of 16 channels, or fewer."""
    groups = max(1, channels // 16)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with all parameters 0, so that a new block is the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def build(preset: str, **changes: object) -> UNet:
    """A U-Net by preset, with changes to its configuration (None: leave as it is)."""
    given = {key: value for key, value in changes.items() if value is not None}
    return UNet(replace(PRESETS[preset], **given)).to(memory_format=torch.channels_last)  # type: ignore[arg-type,call-overload]
