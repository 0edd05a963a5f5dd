"""Events that a long job reports, and the token that stops it. Imports nothing heavy.

The events of a run are the lines of its log.jsonl, all but `Phase`; `--events` prints every one. `docs/events.md` has
their keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Protocol

from sfumato.files import Facts, Json

Advance = Callable[[int, int], None]
"""A function of (done, total), called by loops over many items."""
Stages = Callable[[str, int, int], None]
"""The same for several stages: (what, done, total)."""


@dataclass(frozen=True)
class _Event:
    kind: ClassVar[str]

    def to_json(self) -> Json:
        """The event as a line of log.jsonl: `event` is its kind."""
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
    """Training starts, or resumes at `images`; damaged: a line for each newer checkpoint that is damaged."""

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
    """Every two seconds: means since the last report; `skipped` steps and `seconds` since this start."""

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
    """The validation loss of a checkpoint about to be saved, in bands of the noise level, and figures of the task."""

    kind: ClassVar[str] = "held_out"
    images: int
    loss: float
    bands: tuple[Mapping[str, float], ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> Json:
        """Figures are keys beside the others."""
        values = super().to_json()
        return values | values.pop("figures")


@dataclass(frozen=True)
class Save(_Event):
    """A checkpoint was written; path: the name of its folder."""

    kind: ClassVar[str] = "save"
    images: int
    path: str
    seconds: float


@dataclass(frozen=True)
class Preview(_Event):
    """A preview was written; path: its name in samples/."""

    kind: ClassVar[str] = "preview"
    images: int
    path: str


@dataclass(frozen=True)
class Note(_Event):
    """A remark for the user."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Rollback(_Event):
    """Training ends in an error; `images` are those of the newest checkpoint, `before` those at the error."""

    kind: ClassVar[str] = "rollback"
    images: int
    before: int
    reason: str


@dataclass(frozen=True)
class End(_Event):
    """Training has ended and is saved. stopped: the signal or reason, None at the end of `train.images`."""

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
    """Receives the events of a job. If it raises, the job saves, and then raises the exception."""

    def __call__(self, event: Event, /) -> None: ...


class Stopped(Exception):  # noqa: N818 - not an error, but a request
    """Raised in a phase when a stop was requested; the message is the reason."""


class Stop:
    """A request to stop, checked once a training step and once an item of a phase. May be set from any thread."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def request(self, reason: str) -> None:
        """Stop as soon as possible, after saving. The first reason is kept."""
        if self.reason is None:
            self.reason = reason

    def check(self) -> None:
        """Raises Stopped if a stop was requested."""
        if self.reason is not None:
            raise Stopped(self.reason)


def phases(progress: Progress | None = None, stop: Stop | None = None) -> Stages:
    """A function `(what, done, total)` that reports a Phase and raises Stopped if a stop was requested."""

    def tell(what: str, done: int, total: int) -> None:
        if progress is not None:
            progress(Phase(what, done, total))
        if stop is not None:
            stop.check()

    return tell


def phase(what: str, progress: Progress | None = None, stop: Stop | None = None) -> Advance:
    """The same for one phase: a function `(done, total)`."""
    tell = phases(progress, stop)
    return lambda done, total: tell(what, done, total)
