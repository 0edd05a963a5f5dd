"""The interface that denoising needs; `Model.cleaner()` returns it for models that have it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level

Clipping = Literal["condition", "trained", "untrained"]
"""A model and clipped noise: it takes a condition for it, was trained on it alone, or was not trained on it."""


class Cleaner(Protocol):
    """A denoiser of pictures in [-1, 1] scale, and its limits."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def device(self) -> str:
        """The device of the pictures."""

    @property
    def channels(self) -> int:
        """The number of channels of a picture."""

    @property
    def multiple(self) -> int:
        """Sides must be multiples of this."""

    @property
    def reach(self) -> int | None:
        """The distance in pixels beyond which no pixel has influence; None: none, and one level for a whole picture."""

    @property
    def clipping(self) -> Clipping: ...

    @property
    def denoiser(self) -> Denoiser: ...

    def condition(self, clipped: bool, n: int) -> Condition | None:
        """The denoiser's condition for n pictures with clipped or pure noise; None if it has no condition."""

    @property
    def part(self) -> int | None:
        """Side in pixels of the parts from which levels are read; 0: whole pictures; None: it cannot read levels."""

    def read_level(self, parts: Iterable[Tensor]) -> Level:
        """The noise level of each picture, (N,), from parts of the same N pictures, each (N, channels, h, w).

        Raises UserError if it cannot read levels.
        """
