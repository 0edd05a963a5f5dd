"""The choice of a tuning's step: a shortlist by validation loss, then scores of drawn pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sfumato.files import Json
from sfumato.tuning.score.score import Score

SLACK = 0.25  # a step is a candidate if its loss is above the minimum by at most this share of the loss's fall
MOST = 3  # steps on the shortlist


@dataclass(frozen=True)
class Candidate:
    """A candidate: the validation loss and the drift of a step."""

    step: int
    loss: float
    drift: float


@dataclass(frozen=True)
class Choice:
    """The chosen step, the reason, the steps that are too close to call, and the scores of all compared steps."""

    step: int
    reason: str
    close: tuple[int, ...]
    scores: tuple[Score, ...]

    def to_json(self) -> Json:
        return {
            "step": self.step, "reason": self.reason, "too_close_to_call": list(self.close),
            "scores": [score.to_json() for score in self.scores],
        }  # fmt: skip


def shortlist(candidates: Sequence[Candidate], most: int = MOST) -> list[int]:
    """Steps to compare by pictures: that with the lowest validation loss, the last one, and others spread between them.

    Except for the last, steps far above the lowest loss are left out. The last is kept because pictures often still
    improve while the loss of a held-out photo rises.
    """
    if not candidates:
        return []
    best = min(candidates, key=lambda candidate: candidate.loss)
    fall = max(candidate.loss for candidate in candidates) - best.loss
    worth = [candidate.step for candidate in candidates if candidate.loss <= best.loss + SLACK * fall]
    chosen = {best.step, candidates[-1].step}
    while len(chosen) < most and set(worth) - chosen:
        chosen.add(max(worth, key=lambda step: min(abs(step - other) for other in chosen)))
    return sorted(chosen)


def unmeasured(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The same without a validation loss, where no photo is held out: the loss of a learned photo says nothing, so that
    the last steps are compared.
    """
    return [Candidate(each.step, -float(each.step), each.drift) for each in candidates]


def choose(candidates: Sequence[Candidate], score: Callable[[int], Score], most: int = MOST) -> Choice:
    """The step with the best total; if several are too close to call, the latest of them."""
    steps = shortlist(candidates, most)
    scores = [score(step) for step in steps]
    if len(scores) == 1:
        return Choice(steps[0], "the only step that was compared", (), tuple(scores))
    best = max(scores, key=lambda each: each.total.value)
    good = [each for each in scores if each.total.high > best.total.value or each is best]
    kept, others = good[-1], [each.step for each in good[:-1]]
    worth = f"{kept.total.value:.2f} ({kept.total.low:.2f} to {kept.total.high:.2f})"
    if not others:
        reason = (
            f"step {kept.step} has the best likeness x fidelity - drift / 10 of {len(scores)} compared steps: {worth}"
        )
    else:
        named = f"step {others[0]} is" if len(others) == 1 else f"steps {' and '.join(map(str, others))} are"
        reason = f"step {kept.step} ({worth}) was kept as the latest: {named} too close to call"
    return Choice(kept.step, reason, tuple(others), tuple(scores))
