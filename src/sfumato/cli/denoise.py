"""`sfumato denoise`."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sfumato.cli.console import JSON, answer, fail, say, stages
from sfumato.errors import UserError

if TYPE_CHECKING:
    import numpy as np


def denoise(
    files: list[Path] = typer.Argument(..., help="Photos, folders of them, or patterns as 'holiday/*.jpg'."),
    out: Path = typer.Option(..., "--out", "-o", help="A file for one photo, a folder for several."),
    model: str = typer.Option("photo", "--model", "-m", help="A shipped model's name, a run folder or a checkpoint."),
    sigma: str = typer.Option(
        "auto", "--sigma", help="The noise where white is 1: auto, a number as 0.1, or a grey picture as a map."
    ),
    strength: float = typer.Option(1.0, "--strength", min=0, max=1, help="Clean as if there were this part of it."),
    samples: int = typer.Option(0, "--samples", min=0, help="Also draw K pictures that the photo may have been."),
    seed: int = typer.Option(0, "--seed", min=0, help="Of the samples."),
    show: bool = typer.Option(False, "--show", help="Also write before | after | removed noise x 4."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace files that are there."),
    json: bool = JSON,
) -> None:
    """Take the noise out of photos of any size; everything else in the file stays as it was.

    sfumato denoise photo.jpg -o clean.jpg

    sfumato denoise holiday/ -o clean/ --strength 0.7
    """
    from sfumato.denoise import files as work
    from sfumato.zoo import load

    order = work.Order(_sigma(sigma), strength, samples, seed, show, overwrite)
    pairs = work.plan(files, out)
    loaded = load(model)
    done, failed = [], []
    with stages() as tell:
        for k, (source, target) in enumerate(pairs):
            ask = target.exists() and not overwrite and sys.stdin.isatty()
            one = replace(order, overwrite=typer.confirm(f"{target} exists; replace it?", err=True)) if ask else order
            try:
                cleaned = work.clean(loaded, source, target, one, functools.partial(tell, source.name))
            except UserError as error:
                if len(pairs) == 1:
                    raise
                failed.append(str(error))
                fail(str(error))
                continue
            finally:
                if len(pairs) > 1:
                    tell("photos", k + 1, len(pairs))
            done.append(cleaned)
            found = f"  {cleaned.found.words()}" if cleaned.found else ""
            say(f"{source} ({cleaned.words}){found} -> {', '.join(map(str, cleaned.written))}")
    if json:
        rows = [
            {"file": str(c.source), "written": list(map(str, c.written)), "sigma": c.sigma, "estimated": bool(c.found)}
            for c in done
        ]
        answer({"model": loaded.name, "photos": rows, "failed": failed})
    if failed:
        raise UserError(f"{len(failed)} of {len(pairs)} photos were not cleaned; the others were")


def _sigma(text: str) -> float | np.ndarray | None:
    """auto, a number, or the file of a map."""
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        pass
    if not Path(text).is_file():
        raise UserError(f"--sigma {text}: auto, a number between 0 and 1, or the file of a grey picture")
    from sfumato.denoise.photo import read

    photo = read(Path(text))
    return photo.pixels[..., 0].astype("float64") / photo.top
