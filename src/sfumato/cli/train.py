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
        help="A shipped recipe, a YAML file, a folder of pictures, or a run folder.",
    ),
    overrides: list[str] = typer.Argument(
        None, metavar="[KEY=VALUE]...", help="Override the recipe: train.images=200000 data.labels=[cat]"
    ),
    out: Path = typer.Option(None, "--out", help="Run folder [default: runs/NAME]."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Scan, decide, say time and memory, and stop."),
    events: bool = EVENTS,
    json: bool = JSON,
) -> None:
    """Train a model; the same command again goes on where it stopped.

    `sfumato train ./photos` alone looks at the folder and chooses everything. Ctrl-C saves first.
    """  # fmt: skip
    from sfumato.recipe.recipe import check

    check(what, overrides or ())
    from sfumato.training.job import TrainJob

    job = TrainJob(what, overrides or (), out)
    with Screen(json, events) as screen:
        if os.environ.get("RANK", "0") != "0":  # of several processes the first one speaks
            job.plan(stop=screen.stop) if dry_run else job.run(stop=screen.stop)
            return
        plan, done = work(job, screen, dry_run)
    answer({
        "run": str(plan.folder), "images": done.images if done else 0, "stopped": done.stopped if done else None,
        "estimate": plan.estimate.to_json(),
    }, json)  # fmt: skip
    if done and done.stopped:
        raise typer.Exit(STOPPED)
