"""`sfumato runs`."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import typer

from sfumato.cli.console import JSON, answer, say
from sfumato.errors import UserError

app = typer.Typer(
    help="List the runs of a folder, show one, free disk space, remove runs.", rich_markup_mode="markdown"
)
NAMES = typer.Argument(..., metavar="RUN...", help="Run folders, or names of runs in runs/.")
YES = typer.Option(False, "--yes", "-y", help="Do not ask.")


@app.callback(invoke_without_command=True)
def default(context: typer.Context, json: bool = JSON) -> None:
    """List, show, clean and remove runs. Without a command: list those in runs/."""
    if context.invoked_subcommand is None:
        every(Path("runs"), json)


@app.command("list")
def every(
    folder: Path = typer.Argument(Path("runs"), help="The folder with the runs."),
    json: bool = JSON,
) -> None:
    """List the runs of a folder with their state, progress, size on disk and age; the last changed first."""
    from sfumato.runs.survey import runs_in
    from sfumato.show.words import duration, size

    found = runs_in(folder)
    now = time.time()
    rows = [
        (str(r.path), r.task, r.state, r.progress, size(r.bytes), f"{duration(max(0.0, now - r.changed))} ago")
        for r in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    total = sum(run.bytes for run in found)
    say(f"{_count(len(found))} in {folder}, {size(total)}" if found else f"no runs in {folder}")
    answer({"folder": str(folder), "bytes": total, "runs": [run.to_json() for run in found]}, json)


@app.command()
def show(
    name: str = typer.Argument(..., metavar="RUN", help="A run folder, or a name in runs/."), json: bool = JSON
) -> None:
    """Show one run: its state, last losses, files by size, and the commands to use it."""
    from sfumato.runs.folder import RunFolder
    from sfumato.runs.survey import excess, size_of, summary
    from sfumato.show.words import size

    path = _run(name)
    run, folder = summary(path), RunFolder(path)
    spare = sum(map(size_of, excess(path)))
    losses = {kind: events[-1]["loss"] for kind in ("report", "held_out") if (events := folder.events(kind))}
    report = path / "report.html"
    quoted = shlex.quote(str(path))
    lines = [
        f"{path}: {run.task}, {run.state}, {run.progress}",
        f"pictures: {run.source}",
        *([f"loss: {losses['report']:.4g} in training"] if "report" in losses else []),
        *([f"validation loss: {losses['held_out']:.4g}"] if "held_out" in losses else []),
        f"disk: {size(run.bytes)}, {run.checkpoints} checkpoints; `sfumato runs clean` would free {size(spare)}",
        *([f"report: {report}"] if report.is_file() else []),
        f"use it: sfumato {'denoise PHOTO --out CLEAN --model' if run.task == 'denoise' else 'sample'} {quoted}",
        *([f"continue: sfumato train {quoted}"] if run.state == "unfinished" and run.task != "tune" else []),
    ]  # fmt: skip
    say("\n".join(lines))
    answer({**run.to_json(), "losses": losses, "spare": spare}, json)


@app.command()
def clean(names: list[str] = NAMES, yes: bool = YES, json: bool = JSON) -> None:
    """Free disk space: remove all checkpoints but the newest, and of a tuning the chosen one.

    The runs can still be used and continued.

    `sfumato runs clean runs/*`
    """
    from sfumato.runs import survey
    from sfumato.show.words import size

    paths = [_run(name) for name in names]
    spare = {path: sum(map(survey.size_of, survey.excess(path))) for path in paths}
    _confirm(yes, [f"{path}: {size(bytes)}" for path, bytes in spare.items()], "remove older checkpoints of")
    freed = {str(path): survey.clean(path) for path in paths}
    say(f"{size(sum(freed.values()))} are free again")
    answer({"freed": freed}, json)


@app.command()
def rm(names: list[str] = NAMES, yes: bool = YES, json: bool = JSON) -> None:
    """Remove runs with all their checkpoints. Files in them that sfumato did not write stay, and are named."""
    from sfumato.runs import survey
    from sfumato.show.words import size

    paths = [_run(name) for name in names]
    found = [survey.summary(path) for path in paths]
    _confirm(yes, [f"{run.path}: {run.task}, {run.progress}, {size(run.bytes)}" for run in found], "remove")
    left = {str(path): [str(file) for file in survey.remove(path)] for path in paths}
    for path, files in left.items():
        say(
            f"{path} removed"
            if not files
            else f"{path}: removed but for {', '.join(files)}, which sfumato did not write"
        )
    answer({"removed": list(left), "left": left}, json)


def _run(name: str) -> Path:
    """The folder of a run, by path or by its name in runs/. Raises UserError."""
    from sfumato.runs.survey import is_run

    found = next((path for path in (Path(name), Path("runs") / name) if is_run(path)), None)
    if found is None:
        raise UserError(f"{name} is no run folder (it has no recipe.yaml): list them with `sfumato runs`")
    return found


def _confirm(yes: bool, lines: list[str], what: str) -> None:
    """Raises UserError without a terminal to ask on, and if the answer is no."""
    if yes:
        return
    say("\n".join(lines))
    if not sys.stdin.isatty():
        raise UserError("nothing was removed: confirm with --yes")
    if not typer.confirm(f"{what} {_count(len(lines))}?", err=True):
        raise UserError("nothing was removed")


def _count(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"
