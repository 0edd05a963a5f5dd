"""`sfumato demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sfumato.cli.console import JSON, STOPPED, answer, say
from sfumato.cli.screen import Screen
from sfumato.files import check_folder

if TYPE_CHECKING:
    from sfumato.judging.model import Judged
    from sfumato.show.report import Section
    from sfumato.training.start import Training

SECONDS, LEAST, MOST = 90, 4_000, 60_000  # of training; images, whatever the machine's speed
CHANGES = (
    *(f"train.images={MOST}", "train.preview_seconds=30", "train.warmup=2000", "train.keep=0"),
    *(
        "noise.prediction=x0",
        "noise.weighting=uniform",
        "noise.sigma_min=0.02",
    ),  # gives soft pictures instead of grainy ones
)
CAPTIONS = (
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
    """Show all three jobs in a few minutes, offline: train a small model, denoise a photo, teach a thing from pictures.

    Writes a page, demo.html, with all pictures and figures.
    """
    import time

    check_folder(out)
    from sfumato.demo import car, photo, prompts
    from sfumato.judging import model as judging
    from sfumato.models.sampling import Sampling
    from sfumato.training import start
    from sfumato.training.job import described

    began = time.monotonic()
    say("1 of 5  training a model to draw shapes from captions")
    with Screen(json) as screen:
        training = start.prepare("shapes", CHANGES, out, screen, screen.stop)
        known = training.folder.events("start")
        training = training.of_length(known[0]["of"] if known else affordable(training))
        for line in described(training):
            say(line)
        screen.folder = training.folder.path
        if start.run(training, screen, screen.stop).stopped:
            raise typer.Exit(STOPPED)
    say("2 of 5  drawing with it and measuring how good it is")
    with Screen(json) as screen:
        judged = judging.judge(out, judging.Order(n=300, sampling=Sampling(steps=12)), screen, screen.stop)
    say("3 of 5  cleaning a noisy photo with the shipped model photo")
    cleaned = photo.section()
    say("4 of 5  drawing eight prompts with the shipped model mini")
    drawn = prompts.section(out)
    say("5 of 5  teaching mini a toy car from six drawings")
    first = time.monotonic()
    with Screen(json, unit="steps") as screen:
        screen.folder = out / "car"
        tuned = car.job(out).run(screen, screen.stop)
        if tuned.stopped:
            raise typer.Exit(STOPPED)
    learned = car.section(tuned, time.monotonic() - first)
    page = write(judged, [cleaned, drawn, learned], out, time.monotonic() - began)
    say(judged.verdict.words())
    say(f"open {page}")
    answer({"page": str(page), "seconds": time.monotonic() - began, "judge": judged.to_json()}, json)


def affordable(training: Training) -> int:
    """The number of images that this machine trains on in SECONDS, by the timed steps."""
    return min(MOST, max(LEAST, int(SECONDS * training.estimate.images_per_second) // 1000 * 1000))


def write(judged: Judged, others: list[Section], folder: Path, seconds: float) -> Path:
    """Write demo.html: prompts and pictures, a film of the process, the figures."""
    from sfumato.judging.report import copies_section, curves_section, figures_section, samples_section
    from sfumato.pictures.drawn.shapes import caption
    from sfumato.runs.folder import RunFolder
    from sfumato.show import film as films
    from sfumato.show.grid import grid
    from sfumato.show.report import Page, Picture, Section, write_page

    captions = [caption(*combination) for combination in CAPTIONS]
    drawn, film = judged.model.film(len(captions), texts=captions, seed=1)
    films.gif(film.frames, folder / "film.gif", film.captions)
    films.strip(film.frames, folder / "film.png", captions=film.captions)
    first = Section(
        "Train a model and draw",
        ["Trained on drawn shapes with captions for a minute or two. A longer training makes the shapes exact."],
        pictures=[
            Picture(grid(drawn, columns=4, captions=captions), "eight drawings with their captions"),
            Picture(folder / "film.gif", "the same pictures from noise", "The reverse process: from noise to picture."),
            Picture(folder / "film.png", "steps of the process", "The same as a strip, with falling noise (sigma)."),
        ],
    )  # fmt: skip
    events = RunFolder(folder).events()
    sections = [
        first,
        *others,
        samples_section(judged),
        figures_section(judged),
        copies_section(judged),
        curves_section(events),
    ]
    again = Section(
        "What to try next",
        code=["sfumato train shapes", "sfumato train ./photos", "sfumato sample cifar10 --film film.gif"],
    )
    lead = (
        "A diffusion model was trained and judged, a photo denoised, pictures drawn from prompts, a model taught one "
        f"thing: on this machine in {seconds:.0f} seconds, offline."
    )
    return write_page(
        folder / "demo.html",
        Page("sfumato demo", lead, judged.verdict.words(), "unclear", [*sections, again]),
    )
