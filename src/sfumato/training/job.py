"""The protocol of a job (plan, run, result), and the job of a training; that of a tuning is in `tuning/job.py`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from sfumato.errors import listed
from sfumato.progress import Progress, Stop, Stopped
from sfumato.recipe.recipe import Recipe
from sfumato.runs import checkpoint
from sfumato.runs.folder import RunFolder
from sfumato.show.words import duration, size
from sfumato.training import start
from sfumato.training.plan import Plan
from sfumato.training.start import Training, TrainResult

Result = TypeVar("Result", covariant=True)


class Job(Protocol[Result]):
    """A long piece of work that can be stopped and resumed.

    The command line and Python use it alike: `plan`, show its lines, `run`.
    """

    def plan(self, progress: Progress | None = None, stop: Stop | None = None) -> Plan:
        """The data, the settings and the estimate of time and memory; writes nothing into the run folder.

        Raises UserError, and Stopped if a stop is requested meanwhile.
        """

    def run(self, progress: Progress | None = None, stop: Stop | None = None) -> Result:
        """Work until the end, a signal or a stop, and save; `stopped` of the result is the reason of a stop.

        Raises UserError; Busy if the run folder is in use; and exceptions of `progress`, after saving.
        """


@dataclass
class TrainJob:
    """A training of a recipe, a shipped recipe's name or a folder of pictures; or of a run folder, to resume it.

    overrides: `KEY=VALUE` by dotted path; out: the run folder, `runs/NAME` if it is left out.
    """

    what: str | Path | Recipe
    overrides: Iterable[str] = ()
    out: str | Path | None = None
    _training: Training | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.overrides = tuple(listed("overrides", self.overrides))

    def prepared(self, progress: Progress | None = None, stop: Stop | None = None) -> Training:
        """The prepared training, computed once."""
        if self._training is None:
            self._training = start.prepare(self.what, self.overrides, self.out, progress, stop)
        return self._training

    def plan(self, progress: Progress | None = None, stop: Stop | None = None) -> Plan:
        training = self.prepared(progress, stop)
        return Plan(training.folder.path, tuple(described(training)), training.estimate)

    def run(self, progress: Progress | None = None, stop: Stop | None = None) -> TrainResult:
        stop = stop or Stop()
        try:
            training = self.prepared(progress, stop)
        except Stopped as wish:
            folder = RunFolder(Path(self.out or start.default_out(self.what)))
            newest, _ = checkpoint.newest(folder.checkpoints)
            return TrainResult.of(folder, newest.images if newest else 0, str(wish))
        self._training = None  # another call prepares it again, as another process would
        return start.run(training, progress, stop)


def described(training: Training) -> list[str]:
    """The report on the pictures and the settings, one line each."""
    r, took, store = training.recipe, training.estimate, training.store
    c, h, w = store.shape
    parameters = sum(p.numel() for p in training.task.net.parameters())
    mixed = training.accelerator.mixed_precision
    net = r.net.preset if r.net.kind == "unet" else r.net.kind
    return [
        *store.report.lines(),
        f"{len(store.train):,} pictures for training, {len(store.held_out):,} held out, {w} x {h} x {c}",
        f"{parameters / 1e6:.1f} M parameters ({net}), batch {r.train.batch}, {r.train.images:,} images on "
        f"{training.accelerator.device} ({'fp32' if mixed == 'no' else mixed}): about "
        f"{duration(r.train.images / took.images_per_second)} at {took.images_per_second:.0f} images/s, "
        f"{size(took.memory)} of memory",
        f"run folder {training.folder.path}; Ctrl-C saves, the same command resumes",
    ]
