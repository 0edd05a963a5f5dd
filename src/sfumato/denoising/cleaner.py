"""What denoising needs of a model. Anything that offers this cleans pictures; a model says so by `Model.cleaner()`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.level import Level

Clipping = Literal["told", "seen", "unknown"]
"""Of noise that is cut to the picture's range: the model is told of it, has learned from it alone, or never saw it."""


class Cleaner(Protocol):
    """A denoiser of pictures in [-1, 1] scale with its bounds."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def device(self) -> str:
        """Where pictures must lie."""

    @property
    def channels(self) -> int:
        """Of its pictures."""

    @property
    def multiple(self) -> int:
        """Sides must be multiples of this."""

    @property
    def reach(self) -> int | None:
        """How far it looks, in pixels, which tiles need to know; None: over the whole picture, of one level."""

    @property
    def clipping(self) -> Clipping: ...

    @property
    def denoiser(self) -> Denoiser: ...

    def condition(self, clipped: bool, n: int) -> Condition | None:
        """What the denoiser is given for n pictures with clipped or pure noise; None if it takes nothing."""

    @property
    def part(self) -> int | None:
        """Side in pixels of the parts in which levels are read; 0: whole pictures; None: it reads no levels."""

    def read_level(self, parts: Iterable[Tensor]) -> Level:
        """The noise level of each picture, (N,), from parts of the same N pictures, each (N, channels, h, w).

        Raises UserError if it reads no levels.
        """
