"""Classifier-free guidance, as a denoiser that calls another denoiser."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level


class Guided:
    """D(x | null) + scale * (D(x | cond) - D(x | null)) (Ho and Salimans 2022, eq. 6, with scale = 1 + w).

    scale: any finite number; 1: D(x | cond) is returned; null: the empty condition or that of a negative prompt, 1 row
    or N; interval: the lowest and highest sigma / alpha at which guidance acts, elsewhere D(x | cond) is returned
    (Kynkäänniemi et al. 2024); rescale: 0 to 1, the share by which the standard deviation of each picture, which strong
    guidance increases, is brought back to that of D(x | cond) (Lin et al. 2024, eq. 15 and 16, applied to x0).
    Raises ValueError if scale is not finite.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        scale: float,
        null: Condition,
        interval: tuple[float, float] = (0.0, math.inf),
        rescale: float = 0.0,
    ) -> None:
        if not math.isfinite(scale):
            raise ValueError(f"guidance must be a finite number, not {scale}")
        self.denoiser, self.scale, self.null, self.interval, self.rescale = denoiser, scale, null, interval, rescale

    def acts(self, level: Level) -> bool:
        """Whether guidance changes the output at a level."""
        low, high = self.interval
        return self.scale != 1 and bool(((level.ratio >= low) & (level.ratio <= high)).all())

    def __call__(self, x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        if cond is None or not self.acts(level):
            return self.denoiser(x, level, cond)
        n = len(x)
        both = Level(level.alpha.expand(n).repeat(2), level.sigma.expand(n).repeat(2))
        null = self.null.to(cond.device).repeat(n)
        conditional, unconditional = self.denoiser(torch.cat([x, x]), both, Condition.cat([cond, null])).chunk(2)
        guided = unconditional + self.scale * (conditional - unconditional)
        if not self.rescale:
            return guided
        ratio = conditional.flatten(1).std(1) / guided.flatten(1).std(1).clamp_min(1e-6)
        return guided * (1 + self.rescale * (ratio.view(-1, *[1] * (x.ndim - 1)) - 1))
