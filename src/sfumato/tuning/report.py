"""The report card of a tuning: base against adapter, how it was chosen, and what to do next."""

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
from sfumato.tuning.start import Tuning

LIKE, FAITHFUL, STRAYS, COPIES = 0.4, 0.8, 0.3, 0.5
"""Likeness and fidelity that are good, drift and copying that are too much."""
PAIRS = 6  # of drawn pictures and photos shown
TRUST = (
    "Likeness tells roughly how far a thing has been learned. Do not read differences within the intervals, nor "
    "compare things: photos that differ much among each other lower or raise the scale. Right colours score before the "
    "shape is right, and the thing is looked at alone: whether it keeps its shape beside another one, only your own "
    "eyes tell."
)
PROOFS = "What was written, read back in each way: the relative difference of predictions from the trained adapter's."


def write(job: Tuning, found: Finished) -> Path:
    """Write report.html and report.json into the run folder; the page's path."""
    folder = job.folder.path
    write_json(folder / "report.json", to_json(job, found))
    return write_page(folder / "report.html", page(job, found))


def to_json(job: Tuning, found: Finished) -> Json:
    return {
        "name": job.recipe.name, "base": job.recipe.tune.base, "thing": job.task.thing, "seconds": _seconds(job),
        "memory": job.estimate.memory,
        "choice": found.choice.to_json(), "verified": found.proofs, "verdict": words(found), "next": advice(job, found),
        "photos": [v.to_json() for v in job.report.verdicts], "warnings": list(job.warnings),
    }  # fmt: skip


def words(found: Finished) -> str:
    """The verdict in a sentence or two."""
    s = found.score
    like = "looks like the photos" if s.likeness.value >= LIKE else "looks only a little like the photos"
    told = "follows prompts" if s.fidelity.value >= FAITHFUL else "follows prompts badly"
    kept = "leaves the rest of the base alone" if s.drift.value <= STRAYS else "changes other things too"
    proven = ", ".join(name for name in found.proofs if name != "effect")
    return (
        f"It {like}, {told} and {kept}. {found.choice.reason[:1].upper()}{found.choice.reason[1:]}. Proven by {proven}."
    )


def advice(job: Tuning, found: Finished) -> str:
    """What to do next, in one sentence."""
    s = found.score
    if s.copying > COPIES:
        return "Its pictures repeat photos: add photos with other backgrounds and angles."
    if s.likeness.value < LIKE:
        more = max(look for look in (score.step for score in found.choice.scores))
        if found.choice.step == more and not found.choice.close:
            longer = 2 * more * job.recipe.train.batch
            return f"The last step was the best: train longer, with train.images={longer} and another --out."
        return "Add photos that show the whole thing, sharp and large, from several sides."
    if s.drift.value > STRAYS:
        return "Lower --lora-scale to 0.7, or raise tune.prior."
    if s.fidelity.value < FAITHFUL:
        return "Write NAME.txt beside each photo and say in it what is not part of the thing, such as the background."
    if len(job.photos.names) < 5:
        return "Good as it is; with five to ten photos the step would be chosen with more certainty."
    return "Good as it is: sample it with your own prompts."


def page(job: Tuning, found: Finished) -> Page:
    s, judge = found.score, found.judge
    count = min(12, len(found.drawn))
    pairs = side_by_side({"base": judge.before[:count], "with the LoRA": found.drawn[:count]})
    photos = job.photos.pictures[:, 0]
    drawn = [
        Picture(pairs, "base and LoRA at the same seeds", "; ".join(judge.prompts), True),
        Picture(side_by_side({"photos": photos[:count]}), "the photos, as they were learned", crisp=True),
        Picture(
            _nearest(job, found), "the drawn pictures nearest to a photo, beside it: copies would show", crisp=True
        ),
    ]
    like = f"0 % is as the base's own {job.recipe.tune.noun}, 100 % as alike as the photos are to each other"
    facts = [
        _fact(s.likeness, "likeness", like),
        _fact(s.fidelity, "fidelity", "100 % is as well as the base follows the same prompts"),
        _fact(s.drift, "drift", "change of other pictures, 100 % is as much as another seed"),
        Fact(f"{s.copying:.0%}", "copying", "pictures that all but repeat a photo"),
        Fact(f"{s.diversity:.0%}", "diversity", "spread over seeds, 100 % is the base's"),
        Fact(duration(_seconds(job)), "training", f"{job.estimate.memory / 1e6:,.0f} MB of memory"),
    ]
    events, batch = job.folder.events("held_out"), job.recipe.train.batch
    series = {
        "training loss": [(e["images"] / batch, e["loss"]) for e in job.folder.events("report") if e["loss"]],
        "held-out loss": [(e["images"] / batch, e["loss"]) for e in events],
        "drift": [(e["images"] / batch, e["drift"]) for e in events],
    }
    rows: list[list[str | int | float | None]] = [
        [score.step, score.likeness.value, score.fidelity.value, score.drift.value, score.total.value]
        for score in found.choice.scores
    ]
    told = dict(zip(job.photos.names, job.photos.captions, strict=True))
    verdicts: list[list[str | int | float | None]] = [
        [v.path.name, v.use, "; ".join(v.reasons), told.get(v.path.name, "")] for v in job.report.verdicts
    ]
    proofs: list[list[str | int | float | None]] = [[name, value] for name, value in found.proofs.items()]
    name = job.recipe.name
    sections = [
        Section("Base and LoRA, the same seeds", pictures=drawn),
        Section("Figures", facts=facts),
        Section(
            "The step",
            [found.choice.reason, f"Seen with {judge.eyes.name}. {TRUST}"],
            pictures=[Picture(lines(series, "steps", "loss", logy=True), "held-out loss and drift over steps")],
            tables=[Table(["step", "likeness", "fidelity", "drift", "likeness x fidelity - drift"], rows)],
        ),
        Section("Photos", tables=[Table(["photo", "verdict", "why", "caption"], verdicts)]),
        Section("Proofs", [PROOFS], tables=[Table(["read by", "differs by"], proofs)]),
        Section("Use it", code=[f'sfumato sample {job.folder.path} --prompt "a {job.task.thing} on a road"']),
    ]
    tone: Tone = "good" if s.likeness.value >= LIKE and s.fidelity.value >= FAITHFUL else "unclear"
    lead = f'{len(photos)} photos taught to {job.model.name} as "{job.task.thing}".'
    return Page(f"{name}: is it any good?", lead, f"{words(found)} {advice(job, found)}", tone, sections)


def _seconds(job: Tuning) -> float:
    """Of training, over all starts."""
    return float(sum(event["seconds"] for event in job.folder.events("end")))


def _nearest(job: Tuning, found: Finished) -> Image.Image:
    """The drawn pictures that come nearest to a photo, each beside it."""
    near = found.near
    rows = near.max(1).values.argsort(descending=True)[:PAIRS]
    photos = job.photos.pictures[:, 0][near[rows].argmax(1)]
    return side_by_side({"drawn": found.drawn[rows], "the nearest photo": photos})


def _fact(measure: Interval, label: str, note: str) -> Fact:
    return Fact(f"{measure.value:.0%}", label, f"{measure.low:.0%} to {measure.high:.0%}; {note}")
