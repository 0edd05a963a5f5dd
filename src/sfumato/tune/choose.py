"""Which step of a tuning to keep: a shortlist by held-out loss, then pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sfumato.tune.score import Score

SLACK = 0.25  # of the loss's fall, above its minimum, within which a step is worth looking at
MOST = 3  # steps on the shortlist


@dataclass(frozen=True)
class Look:
    """The held-out loss and the drift of a step."""

    step: int
    loss: float
    drift: float


@dataclass(frozen=True)
class Choice:
    """The step that was chosen, why, whether others were as good within the intervals, and what was looked at."""

    step: int
    reason: str
    close: tuple[int, ...]
    scores: tuple[Score, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step, "reason": self.reason, "too_close_to_call": list(self.close),
            "scores": [score.to_json() for score in self.scores],
        }  # fmt: skip


def shortlist(looks: Sequence[Look], most: int = MOST) -> list[int]:
    """Steps worth drawing from: the lowest held-out loss, the last step, and between them what is spread best.

    Likeness arrives near the minimum of the loss and pictures stiffen after it; so steps far above it are left out.
    """
    if not looks:
        return []
    best = min(looks, key=lambda look: look.loss)
    fall = max(look.loss for look in looks) - best.loss
    worth = [look.step for look in looks if look.loss <= best.loss + SLACK * fall]
    if len(worth) <= most:
        return worth
    chosen = {best.step, worth[-1]}
    while len(chosen) < most:
        chosen.add(max(worth, key=lambda step: min(abs(step - other) for other in chosen)))
    return sorted(chosen)


def choose(looks: Sequence[Look], score: Callable[[int], Score], most: int = MOST) -> Choice:
    """The step with the best total; those that are as good within the intervals are named."""
    steps = shortlist(looks, most)
    scores = [score(step) for step in steps]
    if len(scores) == 1:
        return Choice(steps[0], "the only step whose held-out loss is near its minimum", (), tuple(scores))
    ranked = sorted(scores, key=lambda each: -each.total.value)
    best, close = ranked[0], [each.step for each in ranked[1:] if each.total.high > ranked[0].total.value]
    said = (
        f"step {best.step} has the best likeness x fidelity - drift of {len(scores)} looked at: {best.total.value:.2f} "
        f"({best.total.low:.2f} to {best.total.high:.2f})"
    )
    if close:
        named = " and ".join(str(step) for step in sorted(close))
        said += f"; too close to call against {named}"
    return Choice(best.step, said, tuple(sorted(close)), tuple(scores))
