"""`sfumato train`."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from sfumato.cli.console import EVENTS, JSON, STOPPED, answer
from sfumato.cli.screen import Screen, work


def train(
    what: str = typer.Argument(
        ...,
        metavar="RECIPE|FOLDER",
        help="A folder of pictures, a shipped recipe (list them: sfumato recipe), a YAML file, or a run folder.",
    ),
    overrides: list[str] = typer.Argument(
        None, metavar="[KEY=VALUE]...", help="Change settings of the recipe: train.images=200000 data.labels=[cat]"
    ),
    out: Path = typer.Option(None, "--out", help="Run folder: checkpoints, log, previews [default: runs/NAME]."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Only print the settings, and the time and memory that the training will take."
    ),
    events: bool = EVENTS,
    json: bool = JSON,
) -> None:
    """Train a model on pictures. Ctrl-C saves; the same command resumes.

    `sfumato train ./photos` chooses all settings by the pictures and the machine.

    `sfumato train cifar10 train.images=200000` trains a shipped recipe with a changed setting.
    """  # fmt: skip
    from sfumato.recipe.recipe import check

    check(what, overrides or ())
    from sfumato.training.job import TrainJob

    job = TrainJob(what, overrides or (), out)
    with Screen(json, events) as screen:
        if os.environ.get("RANK", "0") != "0":  # only the first of several processes prints
            job.plan(stop=screen.stop) if dry_run else job.run(stop=screen.stop)
            return
        plan, done = work(job, screen, dry_run)
    answer({
        "run": str(plan.folder), "images": done.images if done else 0, "stopped": done.stopped if done else None,
        "estimate": plan.estimate.to_json(),
    }, json)  # fmt: skip
    if done and done.stopped:
        raise typer.Exit(STOPPED)
