"""`sfumato tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sfumato.cli.console import JSON, answer, progress, say, stages
from sfumato.cli.train import watch
from sfumato.show.words import duration, size

if TYPE_CHECKING:
    from sfumato.tuning.start import TuneJob


def tune(
    photos: Path = typer.Argument(..., metavar="FOLDER", help="Five to ten photos of one thing."),
    overrides: list[str] = typer.Argument(None, metavar="[KEY=VALUE]...", help="Override the preset: train.lr=5e-4"),
    noun: str = typer.Option("", "--noun", help="What the photos show, in a word that the base knows: car."),
    base: str = typer.Option("mini", "--base", help="mini, sd15, sd2, a folder, a file or a Hub id."),
    preset: str = typer.Option(
        "default",
        "--preset",
        help="mini [default of mini], sd [default of others], or seed: the second seed project's settings.",
    ),
    steps: int = typer.Option(None, "--steps", min=1, help="Take exactly so many steps, and keep the last."),
    rank: int = typer.Option(None, "--rank", min=1, help="Rank of the LoRA; alpha follows it."),
    text_encoder: bool = typer.Option(False, "--text-encoder", help="Change the text encoder too."),
    dora: bool = typer.Option(False, "--dora", help="Learn magnitudes apart from directions."),
    init: str = typer.Option(None, "--init", help="How the matrices begin: default, gaussian, pissa or olora."),
    trigger: str = typer.Option(None, "--trigger", help="The thing's name [default: a word the base does not know]."),
    out: Path = typer.Option(None, "--out", help="Folder of the LoRA and its run [default: runs/NAME]."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check the photos, say time and memory, and stop."),
    json: bool = JSON,
) -> None:
    """Teach a text-to-image model one thing from a few photos, choose the best step, and prove the result.

    sfumato tune ./photos --noun car

    sfumato tune ./photos --noun car --base sd15 --out lora_car_model
    """
    from sfumato.tuning import report, start
    from sfumato.tuning.finish import finish

    flags = {"text_encoder": text_encoder, "dora": dora, "trigger": trigger, "rank": rank, "alpha": rank, "init": init}
    given = {f"tune.{key}": value for key, value in flags.items() if value}
    recipe = start.preset_of(preset, base).with_({"data.source": str(photos), "tune.noun": noun, **given})
    with progress("photos") as tell:
        job = start.begin(recipe, overrides or (), out, tell, steps)
    describe(job)
    took = job.estimate
    estimate = {"seconds": steps_take(job), "images_per_second": took.images_per_second, "bytes": took.memory}
    if dry_run:
        if json:
            photos_told = [v.to_json() for v in job.report.verdicts]
            about = {"photos": photos_told, "estimate": estimate, "warnings": list(job.warnings)}
            answer({"folder": str(job.folder.path), **about})
        return
    watch(job, start.run, "steps")
    if job.folder.events("end")[-1]["stopped"]:
        raise KeyboardInterrupt
    with stages() as told:
        found = finish(job, told)
    page = report.write(job, found)
    say(report.words(found))
    say(f"open {page}")
    if json:
        answer({"folder": str(job.folder.path), "page": str(page), "estimate": estimate, **report.to_json(job, found)})


def steps_take(job: TuneJob) -> float:
    """What the steps will take."""
    return job.recipe.train.images / job.estimate.images_per_second


def choosing_takes(job: TuneJob) -> float:
    """Seconds of what comes after the steps."""
    from sfumato.tuning.score.choose import MOST
    from sfumato.tuning.score.score import passes
    from sfumato.tuning.start import forward_takes

    return forward_takes(job, passes(MOST if job.recipe.tune.choose else 1))


def describe(job: TuneJob) -> None:
    """What was found and what was decided."""
    from sfumato.tuning.photos.captions import describes
    from sfumato.tuning.start import affords_previews, forward_takes, questions

    for line in job.report.lines():
        say(line)
    r, took = job.recipe, job.estimate
    count = sum(p.numel() for p in job.task.net.parameters())
    total = r.train.images // r.train.batch
    photos = job.photos
    say(f'{len(photos.learned)} photos to learn, {len(photos.held_out)} held out; it is called "{job.task.thing}"')
    say(
        f"{job.model.name}, a LoRA of rank {r.tune.rank} ({count / 1e6:.2f} M numbers), {total:,} steps of "
        f"{r.train.batch} on {job.model.device} ({job.model.precision}): about "
        f"{duration(steps_take(job))}, {size(took.memory)} of memory"
    )
    if job.twice:
        say("activations are computed twice, which holds less memory and takes a third longer")
    if r.tune.prior and not r.tune.class_pictures:
        count = questions(job)
        say(f"before that the base is asked {count:,} questions: about {duration(forward_takes(job, count))}")
    say(f"then choosing the step and proving the result: about {duration(choosing_takes(job))}")
    if not affords_previews(job):
        say("no previews on the way: one would take too long on this machine")
    if describes(job.model) and not r.tune.caption:
        for name, caption in zip(photos.names, photos.captions, strict=True):
            say(f"  {name}: {caption}")
        say("read from the photos; put NAME.txt beside one to say it better")
    for line in job.warnings:
        say(line)
    say(f"folder {job.folder.path}; Ctrl-C saves, the same command goes on")
