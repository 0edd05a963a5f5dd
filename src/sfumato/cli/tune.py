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
    photos: Path = typer.Argument(..., metavar="FOLDER", help="Five to ten photos of one thing."),
    overrides: list[str] = typer.Argument(None, metavar="[KEY=VALUE]...", help="Override the preset: train.lr=5e-4"),
    noun: str = typer.Option("", "--noun", help="What the photos show, in a word that the base knows: car."),
    base: str = typer.Option("mini", "--base", help="mini, a short name as sd15, a folder, a file or a Hub id."),
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
    events: bool = EVENTS,
    json: bool = JSON,
) -> None:
    """Teach a text-to-image model one thing from a few photos, choose the best step, and prove the result.

    sfumato tune ./photos --noun car

    sfumato tune ./photos --noun car --base sd15 --out lora_car_model
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
