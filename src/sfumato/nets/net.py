"""The interface of networks on pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from sfumato.nets.gauge import NoiseGauge, PlaceGauge


class PictureNet(nn.Module, ABC):
    """F(x, c, tokens=..., noisy=...): x (N, C, H, W), c (N,) the level; subclasses may take more."""

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
        """No pixel further away than this, in pixels, influences the output at a pixel; None: every pixel may."""
        return None
