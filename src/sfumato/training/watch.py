"""Statistics of a running training: loss, gradient norm, non-finite steps, and time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.recipe.sections import Train

SPARE = 9.0  # least interval between slow actions, in their own durations


class Means(NamedTuple):
    """Means of the steps since the last reading. skipped: of all steps; streak: longest run of skipped ones since."""

    loss: float | None
    norm: float | None
    skipped: int
    streak: int


class Watch:
    """Loss, gradient norm and non-finite steps, summed on the device and read occasionally."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(3, device=device)
        self.streak = torch.zeros((), device=device)
        self.worst = torch.zeros((), device=device)
        self.skipped = torch.zeros((), device=device)

    def see(self, loss: Tensor, norm: Tensor, scaled: bool) -> None:
        """Add a step. With loss scaling, where gradients may overflow, only a non-finite loss is trouble."""
        fine = torch.isfinite(norm) & torch.isfinite(loss)
        row = torch.stack([loss.float(), norm.float(), torch.ones_like(norm, dtype=torch.float32)])
        self.sums += torch.where(fine, row, torch.zeros_like(row))
        trouble = (~torch.isfinite(loss) if scaled else ~fine).float()
        self.streak = (self.streak + trouble) * trouble
        self.worst = torch.maximum(self.worst, self.streak)
        self.skipped += (~fine).float()

    def read(self) -> Means | None:
        """Means since the last reading; None if there was no step."""
        loss, norm, count = self.sums.tolist()
        worst, skipped = int(self.worst), int(self.skipped)
        if not count and not worst:
            return None
        self.sums.zero_()
        self.worst.zero_()
        return Means(loss / count if count else None, norm / count if count else None, skipped, worst)


@dataclass
class Clock:
    """Time spent in steps, without previews and saves; and which periodic actions are due."""

    settings: Train
    seconds: float = 0.0
    inside: float = 0.0
    rate: float = 0.0

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._last: dict[str, float] = {}
        self._cost: dict[str, float] = {}
        self._mark: tuple[float, int] | None = None

    def step(self, seconds: float) -> None:
        self.seconds += seconds

    def due(self, what: str, every: float, first: float | None = None) -> bool:
        now = time.monotonic()
        every = max(every, SPARE * self._cost.get(what, 0.0))
        since = now - self._last.get(what, self._began)
        if since < (min(first, every) if first is not None and what not in self._last else every):
            return False
        self._last[what] = now
        return True

    def took(self, what: str, seconds: float) -> None:
        """Record the duration of an action, so that it takes at most a tenth of the time."""
        self._cost[what] = seconds
        self._last[what] = time.monotonic()

    def reported(self, images: int) -> None:
        """Set the rate: images a second since the last report."""
        if self._mark is not None and self.seconds > self._mark[0]:
            self.rate = (images - self._mark[1]) / (self.seconds - self._mark[0])
        self._mark = (self.seconds, images)

    @property
    def share(self) -> float:
        """Part of the time in steps that went into forward, backward and optimiser (meaningful on a CPU)."""
        return self.inside / self.seconds if self.seconds else 0.0
