"""The progress display of a command."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sfumato.cli.console import check_output, console, emit, on_stderr, say
from sfumato.progress import End, Event, HeldOut, Note, Phase, Preview, Report, Start, Stop, phases
from sfumato.show.words import duration

if TYPE_CHECKING:
    from sfumato.training.job import Job
    from sfumato.training.plan import Plan

Result = TypeVar("Result")
LINE_SECONDS = 30.0  # between two lines of progress, if stderr is not a terminal
EVENT_SECONDS = 0.5  # between two events of one phase on stdout


class Screen:
    """Shows the events of a job: bars on a terminal, else a line every half minute; JSON lines with `--events`.

    unit: of a training's bar, "images" or "steps". If stdout is closed, a stop is requested. Used as a context manager;
    `stop` is passed to the job. Work that takes no stop ends too: once one is requested, an event of a phase raises
    Stopped.
    """

    def __init__(self, json: bool = False, events: bool = False, unit: Literal["images", "steps"] = "images") -> None:
        check_output(json, events)
        self.events, self.unit, self.stop = events, unit, Stop()
        self.folder: Path | None = None
        self.stages = phases(self, self.stop)
        self._bars: dict[str, TaskID] = {}
        self._spoken = time.monotonic()
        self._emitted: dict[str, float] = {}
        self._total, self._per = 1.0, 1
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn(),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with on_stderr():
            self._progress.stop()

    def __call__(self, event: Event) -> None:
        if self.events and self._due(event) and not emit(event):
            self.events = False
            self.stop.request("a closed output")
        with on_stderr():
            self._show(event)
        if isinstance(event, Phase):
            self.stop.check()

    def _due(self, event: Event) -> bool:
        """Whether to print an event: of a phase the first, the last and some between; of other kinds all."""
        if not isinstance(event, Phase):
            return True
        now = time.monotonic()
        if event.done < event.total and now - self._emitted.get(event.what, -math.inf) < EVENT_SECONDS:
            return False
        self._emitted[event.what] = now
        return True

    def _show(self, event: Event) -> None:
        if isinstance(event, Phase):
            self._bar(event.what, event.what, event.done, event.total, f"{event.done:,} of {event.total:,}")
            self._now_and_then(f"{event.what}: {event.done:,} of {event.total:,}")
            return
        if isinstance(event, Start):
            self._per = event.batch if self.unit == "steps" else 1
            self._total = event.of / self._per
        text = message(event, self.folder, self._per)
        done = getattr(event, "images", 0) / self._per
        if isinstance(event, Start | Report):
            self._bar("training", f"{done:,.0f} / {self._total:,.0f} {self.unit}", done, self._total, text)
        if isinstance(event, Report):
            left = (self._total - done) / max(event.images_per_second / self._per, 1e-9)
            self._now_and_then(f"{done:>12,.0f} {self.unit}  {text}  {duration(left)} left")
        elif text:
            say(text if isinstance(event, Note) else f"{done:>12,.0f} {self.unit}  {text}")
        if isinstance(event, End) and "training" in self._bars:
            self._progress.remove_task(self._bars.pop("training"))

    def _bar(self, name: str, title: str, done: float, total: float, state: str) -> None:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(title, total=total, state=state)
        self._progress.update(self._bars[name], description=title, completed=done, total=total, state=state)
        if done >= total and name != "training":
            self._progress.remove_task(self._bars.pop(name))

    def _now_and_then(self, text: str) -> None:
        """Print a line if there are no bars and the last one, of whatever kind, is LINE_SECONDS ago."""
        now = time.monotonic()
        if console.is_terminal or now - self._spoken < LINE_SECONDS:
            return
        self._spoken = now
        say(text)


def work(job: Job[Result], screen: Screen, dry_run: bool) -> tuple[Plan, Result | None]:
    """Plan a job, print the plan and, unless this is a dry run, run it."""
    plan = job.plan(screen, screen.stop)
    screen.folder = plan.folder
    for line in plan.lines:
        say(line)
    return plan, None if dry_run else job.run(screen, screen.stop)


def message(event: Event, folder: Path | None = None, per: int = 1) -> str:
    """An event as a line, empty if there is none. folder: of the run; per: images per step, or 1."""
    match event:
        case Report():
            loss = f"loss {event.loss:.4f}" if event.loss is not None else "loss not finite"
            skipped = f", {event.skipped} steps skipped" if event.skipped else ""
            return f"{loss}  {event.images_per_second / per:.3g}/s{skipped}"
        case Start():
            damaged = [f"damaged: {trouble}; resuming from the one before" for trouble in event.damaged]
            return "; ".join([*damaged, "resumed" if event.images else "started"])
        case HeldOut():
            figures = "".join(f", {k} {v:.4f}" for k, v in event.figures.items() if k in ("accuracy", "drift"))
            return f"held-out loss {event.loss:.4f}{figures}"
        case Preview():
            return str((folder or Path()) / "samples" / event.path)
        case Note():
            return event.text
        case End():
            return f"stopped by {event.stopped}, saved" if event.stopped else "finished"
    return ""
