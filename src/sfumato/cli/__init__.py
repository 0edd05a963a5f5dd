"""The command line: parse, call the library, print."""

from __future__ import annotations

import sys
import warnings
from typing import NoReturn, cast

import typer
from typer.rich_utils import rich_format_error

from sfumato.cli import demo, denoise, doctor, export, judge, merge, recipe, runs, sample, train, tune
from sfumato.cli.console import BROKEN_OFF, BUSY, STOPPED, USER, answer_failure, expect, leave, visible
from sfumato.errors import Busy, PromptWarning, UserError
from sfumato.progress import Stopped
from sfumato.runs.signals import follow_parent

TOO_MUCH = ("out of memory", "can't allocate memory")
"""How torch says that memory is full, on a GPU and on a CPU."""

USAGE = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])
"""What the parser raises of a command line; typer may bring a click of its own."""

app = typer.Typer(
    name="sfumato",
    help="Train diffusion models on your pictures, remove noise from photos, teach a text-to-image model one thing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("train")(train.train)
app.command("recipe")(recipe.recipe)
app.command("sample")(sample.sample)
app.command("denoise")(denoise.denoise)
app.command("export")(export.export)
app.command("tune")(tune.tune)
app.command("merge")(merge.merge)
app.command("judge")(judge.judge)
app.command("compare")(judge.compare)
app.add_typer(runs.app, name="runs")


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    warnings.simplefilter("ignore", PromptWarning)  # commands print these lines themselves, once
    if version:
        from sfumato.version import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> NoReturn:
    """Run the command; an error a person can mend is one line on stderr.

    Exit status: 0 done, 2 the user's mistake, 3 stopped and saved, 75 a folder in use, 130 broken off by Ctrl-C.
    """
    words = sys.argv[1:]
    expect(words)
    try:
        follow_parent()
        sys.exit(app(standalone_mode=False))
    except typer.Abort:
        leave("stopped", BROKEN_OFF)
    except USAGE as error:
        message = error.format_message()
        error.message = visible(error.message)
        rich_format_error(error)
        answer_failure(message, error.exit_code)
        sys.exit(error.exit_code)
    except Busy as error:
        leave(str(error), BUSY)
    except UserError as error:
        leave(str(error), USER)
    except Stopped as wish:
        leave(f"stopped by {wish}", STOPPED)
    except KeyboardInterrupt:
        leave("stopped", BROKEN_OFF)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in TOO_MUCH):
            answer_failure(f"{type(error).__name__}: {error}", 1)
            raise
        leave("out of memory: lower train.batch, data.image_size or -n", USER)
    except Exception as error:
        answer_failure(f"{type(error).__name__}: {error}", 1)
        raise
