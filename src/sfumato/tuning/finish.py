"""After the training: choose a step, write the LoRA, and verify its files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sfumato.files import write_json
from sfumato.lora.adapter import Adapter, Shape, attach, taken, without
from sfumato.lora.verify import answer, verify
from sfumato.models.latent import LatentModel, latent_of
from sfumato.progress import Progress, Stop, phases
from sfumato.recipe.sections import Tune
from sfumato.runs import checkpoint
from sfumato.tuning import artifact
from sfumato.tuning.score.choose import Candidate, Choice, choose, shortlist, unmeasured
from sfumato.tuning.score.score import Judge, Score
from sfumato.tuning.start import Tuning
from sfumato.zoo import load

UNPROVEN = ".unproven"  # folder of the files until they are verified, in the run folder


@dataclass(frozen=True)
class Finished:
    """The result: the chosen step, the judge with the base's pictures, the chosen step's pictures and their similarity
    to each photo (N, P), the differences found by verification.
    """

    choice: Choice
    judge: Judge
    drawn: Tensor
    near: Tensor
    proofs: dict[str, float]
    file: Path

    @property
    def score(self) -> Score:
        return next(score for score in self.choice.scores if score.step == self.choice.step)


def finish(job: Tuning, progress: Progress | None = None, stop: Stop | None = None) -> Finished:
    """Choose a step (with `tune.choose`; else the last), write the LoRA, verify it, and move it into the folder.

    The caller holds the lock of the run folder. Raises UserError, Stopped if a stop is requested meanwhile.
    """
    tell = phases(progress, stop)
    folder, batch = job.folder, job.recipe.train.batch
    job.task.parked.back()
    saved = {int(path.name) // batch: path for path in checkpoint.listing(folder.checkpoints)}
    events = {event["images"] // batch: event for event in folder.events("held_out")}
    candidates = [Candidate(step, events[step]["loss"], events[step]["drift"]) for step in saved if step in events]
    every = max(
        1, (job.recipe.train.save_images or 0) // batch
    )  # checkpoints saved by time or Ctrl-C are not candidates: the choice must not depend on them
    candidates = [
        candidate for candidate in candidates[:-1] if candidate.step % every == 0 and job.recipe.tune.choose
    ] + candidates[-1:]
    candidates = candidates if job.photos.held_out else unmeasured(candidates)
    steps = len(shortlist(candidates))
    tell("choosing the step", 0, steps)
    judge = Judge(
        job.model, lambda: without(job.model.net), job.photos.pictures[:, 0], job.task.thing,
        job.recipe.tune.noun, "emoji" if job.model.source == "emoji" else "photos",
        each_step=lambda *_: stop.check() if stop is not None else None,
    )  # fmt: skip
    drawn: dict[int, tuple[Tensor, Tensor]] = {}

    def score(step: int) -> Score:
        _fill(job.task.net, _tensors(saved[step], job))
        result, *drawn[step] = judge.score(step)  # type: ignore[assignment]
        tell("choosing the step", len(drawn), steps)
        return result

    choice = choose(candidates, score)
    tensors = _tensors(saved[choice.step], job)
    _fill(job.task.net, tensors)
    unproven = folder.path / UNPROVEN
    shutil.rmtree(unproven, ignore_errors=True)
    try:
        file = artifact.write(
            taken(job.model.net), unproven, job.recipe, job.model, choice.step,
            {"chosen": choice.to_json(), "photos": [v.to_json() for v in job.report.verdicts]},
        )  # fmt: skip
        tell("proving", 0, 1)
        proofs = proven(job, tensors, file)
        write_json(unproven / "verified.json", proofs)
        for path in sorted(p for p in unproven.rglob("*") if p.is_file()):
            place = folder.path / path.relative_to(unproven)
            place.parent.mkdir(exist_ok=True)
            path.replace(place)
        phases(progress)("proving", 1, 1)  # the files are in place: a stop is ignored
    finally:
        shutil.rmtree(unproven, ignore_errors=True)
    return Finished(choice, judge, *drawn[choice.step], proofs, folder.path / file.name)


def proven(job: Tuning, tensors: dict[str, Tensor], file: Path) -> dict[str, float]:
    """Read the files in every way and compare them with the trained LoRA, in fp32. Raises UserError."""
    s: Tune = job.recipe.tune
    device = job.model.device

    def fresh() -> LatentModel:
        return latent_of(load(s.base, device=device, precision="fp32"))

    live = fresh()
    attach(live.net, Shape.of(s), job.recipe.train.seed)
    _fill(Adapter(live.net), tensors)
    want = answer(live, f"a {job.task.thing}")
    del live  # two copies of a large base need more memory than a tuning
    return verify(want, fresh(), file.parent, file, f"a {job.task.thing}")


def _tensors(path: Path, job: Tuning) -> dict[str, Tensor]:
    return checkpoint.read(path).tensors(checkpoint.label(job.recipe.train.ema[0]))


def _fill(adapter: nn.Module, tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        adapter.load_state_dict(tensors)
