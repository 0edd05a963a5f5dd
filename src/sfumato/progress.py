"""Events that a long job reports, and the token that stops it. Imports nothing heavy.

The events of a run, except `Phase`, are the lines of its log.jsonl. `--events` prints all of them. `docs/events.md`
explains their keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Protocol

from sfumato.files import Facts, Json

Advance = Callable[[int, int], None]
"""A function of (done, total), the numbers of items, that loops over many items call."""
Stages = Callable[[str, int, int], None]
"""The same for several phases: a function of (what, done, total)."""


@dataclass(frozen=True)
class _Event:
    kind: ClassVar[str]

    def to_json(self) -> Json:
        """The event as the object of a line of log.jsonl, with its kind as `event`."""
        return {"event": self.kind, **{each.name: getattr(self, each.name) for each in fields(self)}}


@dataclass(frozen=True)
class Phase(_Event):
    """Progress of work other than training steps: `done` of `total` items."""

    kind: ClassVar[str] = "phase"
    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Start(_Event):
    """Training starts or resumes.

    images: images seen so far; of: those in all; batch: pictures of a step; damaged: one line for each newer checkpoint
    that is damaged.
    """

    kind: ClassVar[str] = "start"
    images: int
    of: int
    batch: int
    device: str
    processes: int
    precision: str
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report(_Event):
    """Reported every two seconds.

    loss, grad_norm: means since the last report, None if no step was finite; seconds: training time since this start;
    skipped: steps since this start whose gradient was not finite; lr: learning rate; inside: share of the time in
    forward pass, backward pass and optimiser.
    """

    kind: ClassVar[str] = "report"
    images: int
    seconds: float
    loss: float | None
    grad_norm: float | None
    skipped: int
    lr: float
    images_per_second: float
    inside: float


@dataclass(frozen=True)
class HeldOut(_Event):
    """The validation loss before a checkpoint is saved.

    bands: "low" and "high" (of sigma / alpha) and "loss" of each band of noise levels; figures: further figures of the
    task by name, such as "drift" of a tuning.
    """

    kind: ClassVar[str] = "held_out"
    images: int
    loss: float
    bands: tuple[Mapping[str, float], ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> Json:
        """The event as the object of a line of log.jsonl; the figures are keys of this object."""
        values = super().to_json()
        return values | values.pop("figures")


@dataclass(frozen=True)
class Save(_Event):
    """A checkpoint was written. path: the name of its folder in checkpoints/; seconds: the time of writing."""

    kind: ClassVar[str] = "save"
    images: int
    path: str
    seconds: float


@dataclass(frozen=True)
class Preview(_Event):
    """A preview grid was written. path: the name of its file in samples/."""

    kind: ClassVar[str] = "preview"
    images: int
    path: str


@dataclass(frozen=True)
class Note(_Event):
    """A message for the user, one line."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Rollback(_Event):
    """Training ends with an error. images: images seen at the newest checkpoint; before: images seen at the error."""

    kind: ClassVar[str] = "rollback"
    images: int
    before: int
    reason: str


@dataclass(frozen=True)
class End(_Event):
    """Training has ended and is saved.

    seconds: training time since this start; stopped: the signal or the reason of a stop, None if all of `train.images`
    were trained on.
    """

    kind: ClassVar[str] = "end"
    images: int
    seconds: float
    stopped: str | None


@dataclass(frozen=True)
class Result(_Event):
    """The last line of `--events`: the object that `--json` prints."""

    kind: ClassVar[str] = "result"
    value: Facts


@dataclass(frozen=True)
class Failure(_Event):
    """The last line of `--events` of a command that fails: the error message, and the exit status."""

    kind: ClassVar[str] = "error"
    text: str
    status: int


Event = Phase | Start | Report | HeldOut | Save | Preview | Note | Rollback | End | Result | Failure


class Progress(Protocol):
    """A function that receives the events of a job. If it raises, the job saves, and then raises the exception."""

    def __call__(self, event: Event, /) -> None: ...


class Stopped(Exception):  # noqa: N818 - not an error, but a request
    """Raised in a phase when a stop was requested; the message is the reason."""


class Stop:
    """A token by which any thread can request that a job stops.

    The job checks it once per training step, and once per item of a phase. reason: that of the first request, or None.
    """

    def __init__(self) -> None:
        self.reason: str | None = None

    def request(self, reason: str) -> None:
        """Request that the job saves and stops as soon as possible. Only the first reason is kept."""
        if self.reason is None:
            self.reason = reason

    def check(self) -> None:
        """Raises Stopped if a stop was requested."""
        if self.reason is not None:
            raise Stopped(self.reason)


def phases(progress: Progress | None = None, stop: Stop | None = None) -> Stages:
    """A function of (what, done, total) that reports a Phase, and raises Stopped if a stop was requested."""

    def tell(what: str, done: int, total: int) -> None:
        if progress is not None:
            progress(Phase(what, done, total))
        if stop is not None:
            stop.check()

    return tell


def phase(what: str, progress: Progress | None = None, stop: Stop | None = None) -> Advance:
    """The same for the one phase `what`: a function of (done, total)."""
    tell = phases(progress, stop)
    return lambda done, total: tell(what, done, total)
