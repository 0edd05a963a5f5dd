"""The report of a tuning: base and LoRA side by side, scores, the choice of the step, and what to do next."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sfumato.files import Json, write_json
from sfumato.judging.stats import Interval
from sfumato.show.grid import side_by_side
from sfumato.show.plot import lines
from sfumato.show.report import Fact, Page, Picture, Section, Table, Tone, write_page
from sfumato.show.words import duration
from sfumato.tuning.finish import Finished
from sfumato.tuning.score.features import are_photos
from sfumato.tuning.score.score import Score
from sfumato.tuning.start import Tuning

LIKE, FAITHFUL, STRAYS, COPIES = 0.4, 0.8, 0.3, 0.5
"""Thresholds: likeness and fidelity from which they are good, drift and copying from which they are too high."""
UNLEARNED = 0.2  # likeness: if the whole interval is below, the thing was not learned
PAIRS = 6  # pairs of drawn picture and photo that are shown
TRUST = (
    "Likeness is a rough measure of how well the thing was learned. Differences within the intervals mean nothing. Do "
    "not compare different things: photos that differ much among each other lower or raise the scale. Right colours "
    "raise the score before the shape is right. Only pictures of the thing alone are measured: judge with your own "
    "eyes whether it keeps its shape beside other things."
)
PROOFS = "The written files, read back in each way: the relative difference of predictions from the trained LoRA's."


def write(job: Tuning, finished: Finished) -> Path:
    """Write report.html and report.json into the run folder; return the page's path."""
    folder = job.folder.path
    write_json(folder / "report.json", to_json(job, finished))
    return write_page(folder / "report.html", page(job, finished))


def to_json(job: Tuning, finished: Finished) -> Json:
    return {
        "name": job.recipe.name, "base": job.recipe.tune.base, "thing": job.task.thing, "seconds": _seconds(job),
        "memory": job.estimate.memory,
        "choice": finished.choice.to_json(), "verified": finished.proofs, "verdict": words(finished),
        "next": advice(job, finished),
        "photos": [v.to_json() for v in job.report.verdicts], "warnings": list(job.warnings),
    }  # fmt: skip


def words(finished: Finished) -> str:
    """The verdict in a sentence or two."""
    s = finished.score
    like = "looks like the photos" if s.likeness.value >= LIKE else "looks only a little like the photos"
    like = "has not learned the thing" if unlearned(s) else like
    follows = "follows prompts" if faithful(s) else "follows prompts badly"
    if s.backgrounds is not None and s.backgrounds < FAITHFUL:
        follows += f" ({1 - s.backgrounds:.0%} of the backgrounds are wrong)"
    kept = "leaves other pictures unchanged" if s.drift.high <= STRAYS else "may change other pictures"
    kept = "changes other pictures too" if s.drift.low > STRAYS else kept
    proven = ", ".join(name for name in finished.proofs if name != "effect")
    reason = finished.choice.reason[:1].upper() + finished.choice.reason[1:]
    return f"It {like}, {follows} and {kept}. {reason}. Verified by {proven}."


def faithful(s: Score) -> bool:
    """Whether pictures fit their prompts, the backgrounds too."""
    return s.fidelity.value >= FAITHFUL and (s.backgrounds is None or s.backgrounds >= FAITHFUL)


def unlearned(s: Score) -> bool:
    """Whether the likeness is about 0, its interval included."""
    return s.likeness.high < UNLEARNED


def advice(job: Tuning, finished: Finished) -> str:
    """What to do next, in one sentence."""
    s = finished.score
    if s.copying > COPIES:
        return "Its pictures repeat photos: add photos with other backgrounds and angles."
    if unlearned(s) and are_photos(job.photos.pictures[:, 0]) and job.model.source == "emoji":
        return (
            f"{job.model.name} draws emoji and cannot learn photos: use --base sd15, or the path of a base of photos."
        )
    if s.likeness.value < LIKE:
        more = max(score.step for score in finished.choice.scores)
        if finished.choice.step == more and not finished.choice.close:
            longer = 2 * more * job.recipe.train.batch
            return f"The last step was the best: train longer, with train.images={longer} and another --out."
        return "Add photos that show the whole thing, sharp and large, from several sides."
    if s.drift.low > STRAYS:
        return "Lower --lora-scale to 0.7, or raise tune.prior."
    if not faithful(s):
        return (
            "Write NAME.txt beside each photo and describe in it what is not part of the thing, such as the background."
        )
    if len(job.photos.names) < 5:
        return "It is good; with five to ten photos the choice of the step would be more certain."
    return "It is good: draw with your own prompts."


def page(job: Tuning, finished: Finished) -> Page:
    s, judge = finished.score, finished.judge
    count = min(12, len(finished.drawn))
    pairs = side_by_side({"base": judge.before[:count], "with the LoRA": finished.drawn[:count]})
    photos = job.photos.pictures[:, 0]
    drawn = [
        Picture(pairs, "base and LoRA at the same seeds", "; ".join(judge.prompts), True),
        Picture(side_by_side({"photos": photos[:count]}), "the photos, as used for training", crisp=True),
        Picture(
            _nearest(job, finished), "the drawn pictures nearest to a photo, beside it, to find copies", crisp=True
        ),
    ]
    like = f"0 %: like the base's own {job.recipe.tune.noun}; 100 %: as similar as the photos are to each other"
    facts = [
        _fact(s.likeness, "likeness", like),
        _fact(s.fidelity, "fidelity", "100 %: prompts are followed as well as by the base"),
        _fact(s.drift, "drift", "change of other pictures; 100 %: as much as another seed"),
        Fact(f"{s.copying:.0%}", "copying", "share of pictures that nearly repeat a photo"),
        Fact(f"{s.diversity:.0%}", "diversity", "difference between seeds; 100 %: as for the base"),
        Fact(duration(_seconds(job)), "training", f"{job.estimate.memory / 1e6:,.0f} MB of memory"),
    ]
    events, batch = job.folder.events("held_out"), job.recipe.train.batch
    series = {
        "training loss": [(e["images"] / batch, e["loss"]) for e in job.folder.events("report") if e["loss"]],
        "held-out loss" if job.photos.held_out else "loss of a learned photo": [
            (e["images"] / batch, e["loss"]) for e in events
        ],
        "drift": [(e["images"] / batch, e["drift"]) for e in events],
    }
    rows: list[list[str | int | float | None]] = [
        [score.step, score.likeness.value, score.fidelity.value, score.drift.value, score.total.value]
        for score in finished.choice.scores
    ]
    captions = dict(zip(job.photos.names, job.photos.captions, strict=True))
    verdicts: list[list[str | int | float | None]] = [
        [v.path.name, v.use, "; ".join(v.reasons), captions.get(v.path.name, "")] for v in job.report.verdicts
    ]
    proofs: list[list[str | int | float | None]] = [[name, value] for name, value in finished.proofs.items()]
    name = job.recipe.name
    sections = [
        Section("Base and LoRA from the same seeds", pictures=drawn),
        Section("Figures", facts=facts),
        Section(
            "The choice of the step",
            [finished.choice.reason, f"Measured with {judge.features.name}. {TRUST}"],
            pictures=[Picture(lines(series, "steps", "loss", logy=True), "losses and drift over steps")],
            tables=[Table(["step", "likeness", "fidelity", "drift", "likeness x fidelity - drift"], rows)],
        ),
        Section("Photos", tables=[Table(["photo", "verdict", "why", "caption"], verdicts)]),
        Section("Verification of the files", [PROOFS], tables=[Table(["read by", "difference"], proofs)]),
        Section("Use it", code=[f'sfumato sample {job.folder.path} --prompt "a {job.task.thing} on a road"']),
    ]
    tone: Tone = "good" if s.likeness.value >= LIKE and faithful(s) else "unclear"
    tone = "bad" if unlearned(s) else tone
    lead = f'{job.model.name} learned {len(photos)} photos under the name "{job.task.thing}".'
    return Page(f"{name}: how good is it?", lead, f"{words(finished)} {advice(job, finished)}", tone, sections)


def _seconds(job: Tuning) -> float:
    """Seconds of training, over all starts."""
    return float(sum(event["seconds"] for event in job.folder.events("end")))


def _nearest(job: Tuning, finished: Finished) -> Image.Image:
    """The drawn pictures nearest to a photo, each beside it."""
    near = finished.near
    rows = near.max(1).values.argsort(descending=True)[:PAIRS]
    photos = job.photos.pictures[:, 0][near[rows].argmax(1)]
    return side_by_side({"drawn": finished.drawn[rows], "the nearest photo": photos})


def _fact(measure: Interval, label: str, note: str) -> Fact:
    return Fact(f"{measure.value:.0%}", label, f"{measure.low:.0%} to {measure.high:.0%}; {note}")
