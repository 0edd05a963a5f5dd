"""`sfumato train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sfumato.cli.console import JSON, answer, console, progress, say
from sfumato.show.words import duration, size

if TYPE_CHECKING:
    from sfumato.runs.folder import RunFolder
    from sfumato.training.start import Job


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
    json: bool = JSON,
) -> None:
    """Train a model; the same command again goes on where it stopped.

    `sfumato train ./photos` alone looks at the folder and chooses everything. Ctrl-C saves first.
    """  # fmt: skip
    from sfumato.training import start

    with progress("pictures") as tell:
        job = start.prepare(what, overrides or (), out, tell)
    if not job.accelerator.is_main_process:  # one process of several speaks
        if not dry_run:
            start.run(job)
        return
    describe(job)
    if not dry_run:
        watch(job, start.run)
    if json:
        events = job.folder.events()
        last: dict[str, Any] = events[-1] if events and not dry_run else {}
        took = job.estimate
        answer(
            {
                "run": str(job.folder.path),
                "images": last.get("images", 0),
                "stopped": last.get("stopped"),
                "estimate": {
                    "seconds": took.seconds,
                    "images_per_second": took.images_per_second,
                    "bytes": took.memory,
                },
            }
        )


def describe(job: Job) -> None:
    """What was found and what was decided."""
    r, took = job.recipe, job.estimate
    for line in job.store.report.lines():
        say(line)
    c, h, w = job.store.shape
    parameters = sum(p.numel() for p in job.task.net.parameters())
    mixed = job.accelerator.mixed_precision
    length = duration(r.train.images / took.images_per_second)
    net = r.net.preset if r.net.kind == "unet" else r.net.kind
    say(f"{len(job.store.train):,} pictures to learn from, {len(job.store.held_out):,} held out, {w} x {h} x {c}")
    say(
        f"{parameters / 1e6:.1f} M parameters ({net}), batch {r.train.batch}, {r.train.images:,} images on "
        f"{job.accelerator.device} ({'fp32' if mixed == 'no' else mixed}): "
        f"about {length} at {took.images_per_second:.0f} images/s, {size(took.memory)} of memory"
    )
    say(f"run folder {job.folder.path}; Ctrl-C saves, the same command goes on")


def watch(job: Any, run: Callable[[Any, Callable[[dict[str, Any]], None]], Any], unit: str = "images") -> None:
    """Run a job with a progress bar; where stderr is no terminal, with a line every half minute.

    unit: "images", or "steps" of the job's batch.
    """
    per = job.recipe.train.batch if unit == "steps" else 1
    total = job.recipe.train.images / per
    with Progress(
        TextColumn(f"{{task.completed:,.0f}} / {{task.total:,.0f}} {unit}"), BarColumn(),
        TextColumn("{task.fields[state]}"), TimeRemainingColumn(), console=console, disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=total, state="")
        spoken = 0.0

        def listen(event: dict[str, Any]) -> None:
            nonlocal spoken
            done = event["images"] / per
            bar.update(task, completed=done)
            text = told(event, job.folder, per)
            if event["event"] == "prior":
                bar.update(task, state=text)
                if event["done"] < event["of"]:
                    return
            if event["event"] == "report":
                bar.update(task, state=text)
                if console.is_terminal or event["seconds"] - spoken < 30:
                    return
                spoken = event["seconds"]
                left = (total - done) / max(event["images_per_second"] / per, 1e-9)
                text = f"{text}  {duration(left)} left"
            if text:
                say(f"{done:>12,.0f} {unit}  {text}")

        run(job, listen)


def told(event: dict[str, Any], folder: RunFolder, per: int = 1) -> str:
    """An event of the log for people; empty if it says nothing to them."""
    kind = event["event"]
    if kind == "report":
        loss = f"loss {event['loss']:.4f}" if event["loss"] is not None else "loss not finite"
        skipped = f", {event['skipped']} steps skipped" if event["skipped"] else ""
        return f"{loss}  {event['images_per_second'] / per:.3g}/s{skipped}"
    if kind == "prior":
        return f"{event['done']} of {event['of']} {event['what']}"
    if kind == "start":
        damaged = [f"damaged: {trouble}; going on from the one before" for trouble in event["damaged"]]
        return "; ".join([*damaged, "going on" if event["images"] else "begun"])
    if kind == "held_out":
        figures = "".join(f", {k} {v:.4f}" for k, v in event.items() if k in ("accuracy", "drift"))
        return f"held-out loss {event['loss']:.4f}{figures}"
    if kind == "preview":
        return str(folder.samples / event["path"])
    if kind == "end":
        return f"stopped by {event['stopped']}, saved" if event["stopped"] else "finished"
    return ""
