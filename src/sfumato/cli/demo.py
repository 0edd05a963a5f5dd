"""`sfumato demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sfumato.cli.console import JSON, STOPPED, answer, say
from sfumato.cli.screen import Screen

if TYPE_CHECKING:
    from sfumato.judging.model import Judged
    from sfumato.show.report import Section
    from sfumato.training.start import Training

SECONDS, LEAST, MOST = 90, 4_000, 60_000  # of training; images, whatever the machine's speed
CHANGES = (
    *(f"train.images={MOST}", "train.preview_seconds=30", "train.warmup=2000", "train.keep=0"),
    *("noise.prediction=x0", "noise.weighting=uniform", "noise.sigma_min=0.02"),  # soft, not grainy
)
ASKED = (
    ("circle", "red", "black"),
    ("star", "blue", "white"),
    ("square", "green", "brown"),
    ("heart", "yellow", "navy"),
    ("triangle", "pink", "mint"),
    ("ring", "cyan", "grey"),
    ("cross", "purple", "white"),
    ("diamond", "red", "navy"),
)


def demo(
    out: Path = typer.Option(Path("runs/demo"), "--out", help="Folder for the run and the page."),
    json: bool = JSON,
) -> None:
    """The three jobs in some minutes, offline: train a small model from nothing, clean a photo, teach a thing.

    Ends with a page, demo.html, that shows what was made and how good it is.
    """
    import time

    from sfumato.demo import car, photo, prompts
    from sfumato.judging import model as judging
    from sfumato.models.sampling import Sampling
    from sfumato.training import start
    from sfumato.training.job import described

    began = time.monotonic()
    say("1 of 5  teaching a model to draw shapes from their captions")
    with Screen(json) as screen:
        training = start.prepare("shapes", CHANGES, out, screen, screen.stop)
        known = training.folder.events("start")
        training = training.of_length(known[0]["of"] if known else affordable(training))
        for line in described(training):
            say(line)
        screen.folder = training.folder.path
        if start.run(training, screen, screen.stop).stopped:
            raise typer.Exit(STOPPED)
    say("2 of 5  drawing with it, and judging it")
    with Screen(json) as screen:
        found = judging.judge(out, judging.Order(n=300, sampling=Sampling(steps=12)), screen, screen.stop)
    say("3 of 5  cleaning a noisy photo with the shipped model photo")
    cleaned = photo.section()
    say("4 of 5  drawing eight prompts with the shipped model mini")
    drawn = prompts.section(out)
    say("5 of 5  teaching mini a toy car from six pictures")
    first = time.monotonic()
    with Screen(json, unit="steps") as screen:
        screen.folder = out / "car"
        tuned = car.job(out).run(screen, screen.stop)
        if tuned.stopped:
            raise typer.Exit(STOPPED)
    learned = car.section(tuned, time.monotonic() - first)
    page = write(found, [cleaned, drawn, learned], out, time.monotonic() - began)
    say(found.verdict.words())
    say(f"open {page}")
    answer({"page": str(page), "seconds": time.monotonic() - began, "judge": found.to_json()}, json)


def affordable(training: Training) -> int:
    """As many images as this machine learns in SECONDS, by the few steps that were timed."""
    return min(MOST, max(LEAST, int(SECONDS * training.estimate.images_per_second) // 1000 * 1000))


def write(found: Judged, others: list[Section], folder: Path, seconds: float) -> Path:
    """demo.html: what was asked and drawn, the process as a film, the figures."""
    from sfumato.judging.report import copies_section, curves_section, figures_section, samples_section
    from sfumato.pictures.drawn.shapes import caption
    from sfumato.runs.folder import RunFolder
    from sfumato.show import film as films
    from sfumato.show.grid import grid
    from sfumato.show.report import Page, Picture, Section, write_page

    asked = [caption(*combination) for combination in ASKED]
    drawn, film = found.model.film(len(asked), texts=asked, seed=1)
    films.gif(film.frames, folder / "film.gif", film.captions)
    films.strip(film.frames, folder / "film.png", captions=film.captions)
    first = Section(
        "Asked and drawn",
        ["The model saw nothing but drawn shapes and their captions, for a minute or two. More makes it exact."],
        pictures=[
            Picture(grid(drawn, columns=4, captions=asked), "eight drawings with their captions"),
            Picture(folder / "film.gif", "the same, out of noise", "The reverse process: noise to picture."),
            Picture(folder / "film.png", "stages of the process", "The same as a strip, sigma falling."),
        ],
    )  # fmt: skip
    events = RunFolder(folder).events()
    sections = [
        first,
        *others,
        samples_section(found),
        figures_section(found),
        copies_section(found),
        curves_section(events),
    ]
    again = Section(
        "What to try next",
        code=["sfumato train shapes", "sfumato train ./photos", "sfumato sample cifar10 --film film.gif"],
    )
    lead = (
        "A diffusion model trained from nothing and judged, a photo cleaned, prompts drawn and a thing taught: on this "
        f"machine in {seconds:.0f} seconds, offline."
    )
    return write_page(
        folder / "demo.html",
        Page("Out of the haze", lead, found.verdict.words(), "unclear", [*sections, again]),
    )
