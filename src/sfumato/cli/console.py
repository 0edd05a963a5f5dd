"""Output of all commands: lines on stderr; on stdout one JSON object, or events as JSON lines."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TextIO
from unicodedata import category

import typer
from rich.console import Console

from sfumato import registry
from sfumato.errors import UserError
from sfumato.files import Facts, Json
from sfumato.progress import Event, Failure, Result

SAMPLERS = f"{', '.join(registry.names('sampler'))}, or your own as package.module:Name."
USER, STOPPED, BUSY, BROKEN_OFF = 2, 3, 75, 130
"""Exit status: the user's mistake, stopped and saved, a folder in use, broken off by Ctrl-C."""

console = Console(stderr=True, highlight=False, soft_wrap=True)
_output = {"events": False, "json": False}
"""What stdout still waits for."""


def expect(words: list[str]) -> None:
    """What a command line says of stdout, before it is parsed, which may fail."""
    events = "--events" in words
    _output.update(events=events, json="--json" in words and not events)


def _choose(events: bool) -> bool:
    _output["events"] = events
    return events


JSON = typer.Option(
    False,
    "--json",
    help="Print exactly one JSON object on stdout: the result, or an object with the one key error if the command "
    "fails. Progress is printed on stderr.",
)
EVENTS = typer.Option(
    False,
    "--events",
    callback=_choose,
    help="Print progress as JSON lines on stdout; the last line contains what --json prints.",
)


def check_output(json: bool, events: bool) -> None:
    """Raises UserError if both are chosen."""
    if json and events:
        _output.update(events=False, json=True)
        raise UserError("--json and --events: choose one; the last line of --events holds what --json prints")


def fail(message: str) -> None:
    """One line on stderr."""
    with on_stderr():
        console.print("error:", style="bold red", end=" ")
        console.print(visible(" ".join(message.split())), markup=False)


def leave(message: str, status: int) -> NoReturn:
    """One line on stderr, what stdout waits for, and the exit status."""
    fail(message)
    answer_failure(message, status)
    sys.exit(status)


def answer_failure(message: str, status: int) -> None:
    """The JSON object of --json, or the last line of --events, of a command that fails; nothing if it was printed."""
    if _output["events"]:
        emit(Failure(message, status))
    elif _output["json"]:
        sys.stdout.write(_line({"error": message}))
    _output.update(events=False, json=False)


def say(text: str) -> None:
    """Text on stderr, a line or several."""
    with on_stderr():
        console.print(visible(text), markup=False)


def visible(text: str) -> str:
    """Text that cannot steer a terminal: what is not printable is escaped, but for spaces and line ends."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" or category(sign) == "Zs" else ascii(sign)[1:-1] for sign in text
    )


def may_replace(paths: Sequence[Path], overwrite: bool) -> None:
    """Ask at a terminal whether existing files may be replaced. Raises UserError if not, or if nobody is there."""
    there = [str(path) for path in paths if path.exists()]
    if overwrite or not there:
        return
    named = ", ".join(there[:3]) + (f" and {len(there) - 3} more" if len(there) > 3 else "")
    exist = "exists" if len(there) == 1 else "exist"
    if sys.stdin.isatty() and typer.confirm(visible(f"{named} {exist}; replace?"), err=True):
        return
    raise UserError(f"{named} {exist}: --overwrite replaces, or choose another --out")


def answer(value: Json, json: bool = True) -> None:
    """The JSON object of --json, or the last line of --events."""
    if _output["events"]:
        emit(Result(value))
    elif json:
        sys.stdout.write(_line(value))
    _output.update(events=False, json=False)


def emit(event: Event) -> bool:
    """Print an event as a JSON line on stdout; False if stdout is closed."""
    try:
        sys.stdout.write(_line({"time": round(time.time(), 3), **event.to_json()}))
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


def _line(value: Facts) -> str:
    return json.dumps(_finite(value), ensure_ascii=False) + "\n"


def _finite(value: object) -> object:
    """Replace NaN and infinity, which JSON lacks, by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value
