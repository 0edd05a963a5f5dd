"""The noise on which a denoiser is judged. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from sfumato.errors import UserError


@dataclass(frozen=True)
class Noisy:
    """The noise that is added to clean pictures, and how it is removed.

    sigma: its standard deviation where white is 1, above 0 and at most 1; clip: clip the noisy picture to its range, as
    in a file; blind: the model is not given the level; correct: see `denoise.best`; mirror: see `denoise.mirrored`.
    """

    sigma: float = 0.2
    clip: bool = True
    blind: bool = False
    correct: bool = True
    mirror: bool = False

    def check(self) -> None:
        """Raises UserError."""
        if not 0 < self.sigma <= 1:
            raise UserError(
                f"--sigma {self.sigma:g}: the noise's standard deviation is above 0 and at most 1, with white at 1"
            )
