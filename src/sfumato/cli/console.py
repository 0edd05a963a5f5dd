"""What all commands share: progress on stderr, one JSON object on stdout."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

JSON = typer.Option(False, "--json", help="Print one JSON object on stdout and nothing else; progress stays on stderr.")

console = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str) -> None:
    """One line on stderr."""
    console.print("error:", style="bold red", end=" ")
    console.print(" ".join(message.split()), markup=False)


def say(text: str) -> None:
    console.print(text, markup=False)


def answer(value: dict[str, Any]) -> None:
    """The JSON object of --json."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with ETA, shown once `done, total` is first told."""
    with stages() as tell:
        yield lambda done, total: tell(title, done, total)


@contextlib.contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """Bars with ETA for several named stages, `what, done, total`."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield tell
