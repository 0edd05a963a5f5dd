"""Which step of a tuning to keep: a shortlist by held-out loss, then pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sfumato.files import Json
from sfumato.tuning.score.score import Score

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

    def to_json(self) -> Json:
        return {
            "step": self.step, "reason": self.reason, "too_close_to_call": list(self.close),
            "scores": [score.to_json() for score in self.scores],
        }  # fmt: skip


def shortlist(looks: Sequence[Look], most: int = MOST) -> list[int]:
    """Steps worth drawing from: the lowest held-out loss, the last step, and between them what is spread best.

    Steps far above the lowest loss are left out, but for the last: pictures of five photos' thing often go on improving
    while the loss of a sixth rises.
    """
    if not looks:
        return []
    best = min(looks, key=lambda look: look.loss)
    fall = max(look.loss for look in looks) - best.loss
    worth = [look.step for look in looks if look.loss <= best.loss + SLACK * fall]
    chosen = {best.step, looks[-1].step}
    while len(chosen) < most and set(worth) - chosen:
        chosen.add(max(worth, key=lambda step: min(abs(step - other) for other in chosen)))
    return sorted(chosen)


def choose(looks: Sequence[Look], score: Callable[[int], Score], most: int = MOST) -> Choice:
    """The step with the best total; of those that are as good within the intervals, which are named, the latest."""
    steps = shortlist(looks, most)
    scores = [score(step) for step in steps]
    if len(scores) == 1:
        return Choice(steps[0], "the only step that was looked at", (), tuple(scores))
    best = max(scores, key=lambda each: each.total.value)
    good = [each for each in scores if each.total.high > best.total.value or each is best]
    kept, others = good[-1], [each.step for each in good[:-1]]
    worth = f"{kept.total.value:.2f} ({kept.total.low:.2f} to {kept.total.high:.2f})"
    if not others:
        said = f"step {kept.step} has the best likeness x fidelity - drift / 10 of {len(scores)} looked at: {worth}"
    else:
        named = " and ".join(str(step) for step in others)
        said = f"step {kept.step}, {worth}, is the last of {len(scores)} looked at; too close to call against {named}"
    return Choice(kept.step, said, tuple(others), tuple(scores))
