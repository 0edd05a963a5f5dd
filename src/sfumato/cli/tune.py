"""`sfumato tune`."""

from __future__ import annotations

import json as encoding
from pathlib import Path

import typer

from sfumato import api
from sfumato.cli.console import EVENTS, JSON, STOPPED, answer, say
from sfumato.cli.screen import Screen, work
from sfumato.tuning.preset import Preset


def tune(
    photos: Path = typer.Argument(..., metavar="FOLDER", help="A folder with five to ten photos of one thing."),
    overrides: list[str] = typer.Argument(
        None, metavar="[KEY=VALUE]...", help="Change settings of the preset: train.lr=5e-4"
    ),
    noun: str = typer.Option(
        "", "--noun", help="Required: the kind of thing, in a word that the base knows, such as car."
    ),
    base: str = typer.Option(
        "mini", "--base", help="The base to adapt: sd15, sd2, sdxl, mini (emoji only), a folder, a file or a Hub id."
    ),
    preset: str = typer.Option(
        "default",
        "--preset",
        help="Settings: mini [default for mini], sd [default for others], or seed (400 steps, attention only).",
    ),
    steps: int = typer.Option(None, "--steps", min=1, help="Train exactly this number of steps and keep the last one."),
    rank: int = typer.Option(
        None,
        "--rank",
        min=1,
        help="Rank of the LoRA, also its alpha; a higher one learns more detail, in a larger file [default: 16].",
    ),
    text_encoder: bool = typer.Option(False, "--text-encoder", help="Adapt the text encoder too."),
    dora: bool = typer.Option(
        False, "--dora", help="Train a DoRA: magnitudes and directions of the weights are learned separately."
    ),
    init: str = typer.Option(None, "--init", help="Initial values of the matrices: default, gaussian, pissa or olora."),
    trigger: str = typer.Option(
        None, "--trigger", help="Name of the thing in prompts [default: a word that the base does not know]."
    ),
    out: Path = typer.Option(None, "--out", help="Folder of the LoRA and of its training [default: runs/NAME]."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Only check the photos and print the time and memory that it will take."
    ),
    events: bool = EVENTS,
    json: bool = JSON,
) -> None:
    """Teach a text-to-image model one thing from a few photos: train a LoRA, choose its best step, verify its files.

    sfumato tune ./photos --noun car --base sd15

    sfumato tune ./drawings --noun automobile     (on mini, which knows drawn emoji only, offline)

    Then: sfumato sample runs/NAME --prompt "a TRIGGER car on a road"
    """
    flags = {"text_encoder": text_encoder, "dora": dora, "trigger": trigger, "rank": rank, "alpha": rank, "init": init}
    changes = [f"tune.{key}={encoding.dumps(value)}" for key, value in flags.items() if value]
    api.check_tuning(photos, base, Preset(preset, [*changes, *(overrides or ())]))
    from sfumato.tuning import report
    from sfumato.tuning.job import TuneJob

    job = TuneJob(photos, noun, base, preset, steps, [*changes, *(overrides or ())], out)
    with Screen(json, events, "steps") as screen:
        plan, done = work(job, screen, dry_run)
    if done is None:
        answer(plan.to_json(), json)
        return
    about = {"folder": str(plan.folder), "stopped": done.stopped, "estimate": plan.estimate.to_json()}
    if done.finished is None:
        answer({**about, "steps": done.steps}, json)
        raise typer.Exit(STOPPED)
    say(report.words(done.finished))
    say(f"open {done.page}")
    answer({**about, "page": str(done.page), **encoding.loads((done.folder / "report.json").read_text("utf-8"))}, json)
