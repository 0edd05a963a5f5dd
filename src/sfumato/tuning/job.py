"""A tuning as a job: plan, run, result; from photos to a verified LoRA with its report."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sfumato.errors import PromptWarning, listed
from sfumato.progress import Progress, Stop, Stopped
from sfumato.recipe.recipe import Recipe
from sfumato.runs import checkpoint
from sfumato.runs.folder import RunFolder
from sfumato.runs.signals import stopping
from sfumato.show.words import duration, size
from sfumato.training.plan import Plan
from sfumato.tuning import report, start
from sfumato.tuning.finish import Finished, finish
from sfumato.tuning.photos.captions import describes
from sfumato.tuning.preset import Preset
from sfumato.tuning.score.choose import MOST
from sfumato.tuning.score.score import passes
from sfumato.tuning.start import Tuning


@dataclass(frozen=True)
class TuneResult:
    """The state of a tuning after `run`.

    folder: of the LoRA and its run; steps: taken so far; stopped: the signal or reason, None if it is finished;
    checkpoint: the folder of the newest, None if there is none. If finished, also: file: the LoRA in one file;
    page: the report; thing: its name in prompts, such as "zarnu car"; finished: the chosen step, scores and pictures.
    """

    folder: Path
    steps: int
    stopped: str | None
    checkpoint: Path | None
    file: Path | None = None
    page: Path | None = None
    thing: str = ""
    finished: Finished | None = field(default=None, repr=False)

    @property
    def end(self) -> Finished:
        """`finished`. Raises Stopped if the tuning was stopped."""
        if self.finished is None:
            raise Stopped(self.stopped or "not finished")
        return self.finished


@dataclass
class TuneJob:
    """A tuning of `base` on a folder of photos of one thing.

    noun: the kind of thing, a word that the base knows; preset: "default", "mini", "sd" or "seed"; steps: train exactly
    this number and keep the last; overrides: `KEY=VALUE`; out: the folder, `runs/NAME` if it is left out. Raises
    UserError if the preset does not exist.
    """

    photos: str | Path
    noun: str
    base: str = "mini"
    preset: str = "default"
    steps: int | None = None
    overrides: Iterable[str] = ()
    out: str | Path | None = None
    recipe: Recipe = field(init=False, repr=False)
    _tuning: Tuning | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.overrides = tuple(listed("overrides", self.overrides))
        given = {"data.source": str(self.photos), "tune.noun": self.noun}
        self.recipe = Preset(self.preset).recipe(self.base).with_(given)

    def prepared(self, progress: Progress | None = None, stop: Stop | None = None) -> Tuning:
        """The prepared tuning, computed once."""
        if self._tuning is None:
            self._tuning = start.begin(self.recipe, self.overrides, self.out, progress, stop, self.steps)
        return self._tuning

    def plan(self, progress: Progress | None = None, stop: Stop | None = None) -> Plan:
        """Raises UserError, Stopped."""
        tuning = self.prepared(progress, stop)
        facts = {"photos": [verdict.to_json() for verdict in tuning.report.verdicts]}
        return Plan(tuning.folder.path, tuple(described(tuning)), tuning.estimate, tuning.warnings, facts)

    def run(self, progress: Progress | None = None, stop: Stop | None = None) -> TuneResult:
        """Raises UserError, and what `progress` raises."""
        stop = stop or Stop()
        try:
            tuning = self.prepared(progress, stop)
        except Stopped as wish:
            return _stopped(start.folder_of(self.recipe, self.out), str(wish))
        for line in tuning.warnings:
            warnings.warn(line, PromptWarning, stacklevel=2)
        self._tuning = None  # another call prepares it again, as another process would
        return run(tuning, progress, stop)


def run(tuning: Tuning, progress: Progress | None = None, stop: Stop | None = None) -> TuneResult:
    """Train, choose a step, write and verify the LoRA, write the report; continues where an earlier call stopped.

    Raises UserError, Busy if the folder is in use, and exceptions of `progress` after saving.
    """
    stop, folder = stop or Stop(), tuning.folder
    with stopping(stop), folder.hold():
        try:
            if reason := start.learn(tuning, progress, stop):
                return _stopped(folder, reason)
            finished = finish(tuning, progress, stop)
        except Stopped as wish:
            return _stopped(folder, str(wish))
        page = report.write(tuning, finished)
    last = checkpoint.listing(folder.checkpoints)[-1]
    steps = int(last.name) // tuning.recipe.train.batch
    return TuneResult(folder.path, steps, None, last, finished.file, page, tuning.task.thing, finished)


def _stopped(folder: RunFolder, reason: str) -> TuneResult:
    saved = checkpoint.listing(folder.checkpoints)
    steps = int(saved[-1].name) // folder.recipe().train.batch if saved else 0
    return TuneResult(folder.path, steps, reason, saved[-1] if saved else None)


def described(tuning: Tuning) -> Sequence[str]:
    """The report on the photos and the settings, one line each."""
    r, took, photos = tuning.recipe, tuning.estimate, tuning.photos
    count = sum(p.numel() for p in tuning.task.net.parameters())
    lines = [
        *tuning.report.lines(),
        f'{len(photos.learned)} photos for training, {len(photos.held_out)} held out; its name: "{tuning.task.thing}"',
        f"{tuning.model.name}, a LoRA of rank {r.tune.rank} ({count / 1e6:.2f} M parameters), "
        f"{r.train.images // r.train.batch:,} steps of {r.train.batch} on {tuning.model.device} "
        f"({tuning.model.precision}): about {duration(took.seconds)}, {size(took.memory)} of memory",
    ]
    if tuning.twice:
        lines.append(
            "activation checkpointing: activations are computed twice, which saves memory and takes a third longer"
        )
    if r.tune.prior and not r.tune.class_pictures:
        outputs = start.prior_size(tuning)
        takes = duration(start.forward_takes(tuning, outputs))
        lines.append(f"before that the base computes {outputs:,} outputs for the prior: about {takes}")
    after = start.forward_takes(tuning, passes(MOST if r.tune.choose else 1))
    lines.append(f"after that the best step is chosen and the files are verified: about {duration(after)}")
    if not start.affords_previews(tuning):
        lines.append("no previews: one would take too long on this machine")
    if describes(tuning.model) and not r.tune.caption:
        lines += [f"  {name}: {caption}" for name, caption in zip(photos.names, photos.captions, strict=True)]
        lines.append("these captions were read from the photos; to correct one, write NAME.txt beside the photo")
    return [*lines, *tuning.warnings, f"folder {tuning.folder.path}; Ctrl-C saves, the same command resumes"]
