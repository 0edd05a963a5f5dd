"""What every network on pictures says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from sfumato.nets.gauge import NoiseGauge, PlaceGauge


class PictureNet(nn.Module, ABC):
    """F(x, c, tokens=..., noisy=...): x (N, C, H, W), c (N,) the level; each subclass says what else it takes."""

    gauge: NoiseGauge | PlaceGauge | None
    """Reads the noise level from a picture; None: the level must be given."""

    def __init__(self) -> None:
        super().__init__()
        self.gauge = None

    @property
    @abstractmethod
    def multiple(self) -> int:
        """A picture's sides must be multiples of this."""

    @property
    def reach(self) -> int | None:
        """No pixel further away than this, in pixels, changes what is said of a pixel; None: every pixel may."""
        return None
