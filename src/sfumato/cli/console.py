"""Output of all commands: lines on stderr; on stdout one JSON object, or events as JSON lines."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, TextIO

import typer
from rich.console import Console

from sfumato.errors import UserError
from sfumato.progress import Event, Failure, Result

JSON = typer.Option(False, "--json", help="Print one JSON object on stdout and nothing else; progress stays on stderr.")
USER, STOPPED, BUSY, BROKEN_OFF = 2, 3, 75, 130
"""Exit status: the user's mistake, stopped and saved, a folder in use, broken off by Ctrl-C."""

console = Console(stderr=True, highlight=False, soft_wrap=True)
_output = {"events": False}


def _choose(events: bool) -> bool:
    _output["events"] = events
    return events


EVENTS = typer.Option(
    False,
    "--events",
    callback=_choose,
    help="Print progress as JSON lines on stdout; the last line contains what --json prints.",
)


def check_output(json: bool, events: bool) -> None:
    """Raises UserError if both are chosen."""
    if json and events:
        _choose(False)
        raise UserError("--json and --events: choose one; the last line of --events holds what --json prints")


def fail(message: str) -> None:
    """One line on stderr."""
    with on_stderr():
        console.print("error:", style="bold red", end=" ")
        console.print(" ".join(message.split()), markup=False)


def leave(message: str, status: int) -> NoReturn:
    """One line on stderr, with `--events` the last one on stdout, and the exit status."""
    fail(message)
    if _output["events"]:
        emit(Failure(message, status))
    _choose(False)
    sys.exit(status)


def say(text: str) -> None:
    with on_stderr():
        console.print(text, markup=False)


def answer(value: dict[str, Any], json: bool = True) -> None:
    """The JSON object of --json, or the last line of --events."""
    if _output["events"]:
        emit(Result(value))
        _choose(False)
    elif json:
        sys.stdout.write(_line(value))


def emit(event: Event) -> bool:
    """Print an event as a JSON line on stdout; False if stdout is closed."""
    try:
        sys.stdout.write(_line({"time": round(time.time(), 3), **_finite(event.to_json())}))
        sys.stdout.flush()
    except OSError:
        _silence(sys.stdout)
        return False
    return True


@contextlib.contextmanager
def on_stderr() -> Iterator[None]:
    """Within the block a closed stderr is not an error: output is discarded from then on."""
    try:
        yield
    except OSError:
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    """Redirect a failing stream to the null device, since the interpreter flushes it at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value
