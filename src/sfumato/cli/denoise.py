"""`sfumato denoise`."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sfumato.cli.console import EVENTS, JSON, answer, fail, say
from sfumato.cli.screen import Screen
from sfumato.errors import UserError
from sfumato.files import disk_trouble

if TYPE_CHECKING:
    from sfumato.denoising.places import Order


def denoise(
    files: list[Path] = typer.Argument(..., help="Photos, folders of photos, or patterns such as 'holiday/*.jpg'."),
    out: Path = typer.Option(..., "--out", "-o", help="The cleaned file, or a folder for several photos."),
    model: str = typer.Option("photo", "--model", "-m", help="photo, cifar10-denoise, a run folder or a checkpoint."),
    sigma: str = typer.Option(
        "auto",
        "--sigma",
        help="Standard deviation of the noise, where white is 1: auto, a number, or a grey picture as a map.",
    ),
    strength: float = typer.Option(
        1.0,
        "--strength",
        min=0,
        max=1,
        help="Share of the noise level that the model is given; below 1 some noise is left.",
    ),
    mirror: bool = typer.Option(
        False, "--mirror", help="Average with the result of the mirrored photo: slightly better, twice the time."
    ),
    samples: int = typer.Option(
        0,
        "--samples",
        min=0,
        help="Also draw this many posterior samples: sharp pictures that the clean photo may have been.",
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of the posterior samples."),
    show: bool = typer.Option(
        False, "--show", help="Also write a picture of before, after and the removed noise (x 4)."
    ),
    page: int | None = typer.Option(
        None, "--page", min=1, help="Page of a TIFF, or frame of a GIF or WebP, from 1; left out: the first."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace existing files."),
    events: bool = EVENTS,
    json: bool = JSON,
) -> None:
    """Remove noise from photos of any size. Size, bit depth, EXIF and colour profile are kept.

    sfumato denoise photo.jpg -o clean.jpg

    sfumato denoise holiday/ -o clean/ --strength 0.7
    """
    from sfumato.denoising.sigma import check_samples, given
    from sfumato.models.names import check

    noise = given(sigma, "--sigma")
    check_samples(noise, samples, "--sigma")
    check(model)
    from sfumato.denoising import files as work
    from sfumato.denoising.places import Order, plan, unused
    from sfumato.zoo import opened

    order = Order(noise, strength, samples, seed, show, overwrite, mirror, page)
    pairs, passed = plan(files, out, order), unused(files, out)
    kept = set() if overwrite or not sys.stdin.isatty() else {t for _, t in pairs if not _replace(t, order)}
    done, failed = [], []
    with Screen(json, events) as screen:
        loaded = opened(model, screen, screen.stop).cleaner()
        for k, (source, target) in enumerate(pairs):
            if target in kept:
                continue
            one = replace(order, overwrite=overwrite or sys.stdin.isatty())
            try:
                cleaned = work.clean(loaded, source, target, one, functools.partial(screen.stages, "tiles"))
            except (UserError, OSError, MemoryError, RuntimeError) as error:
                known = _known(error, source)
                if known is None or (len(pairs) == 1 and not json):
                    raise known or error from error
                failed.append(str(known))
                fail(str(known))
                continue
            finally:
                if len(pairs) > 1:
                    screen.stages("photos", k + 1, len(pairs))
            done.append(cleaned)
            estimate = f"  {cleaned.found}" if cleaned.found else ""
            say(f"{source} ({cleaned.words}){estimate} -> {', '.join(map(str, cleaned.written))}")
            for note in cleaned.notes:
                say(f"{source}: {note}")
    for path, why in passed:
        say(f"{path}: not cleaned: {why}")
    if kept:
        say(f"{len(kept)} of {len(pairs)} existing files were not replaced")
    rows = [
        {
            "file": str(c.source), "written": list(map(str, c.written)), "sigma": c.sigma, "estimated": bool(c.found),
            "notes": list(c.notes),
        }
        for c in done
    ]  # fmt: skip
    unused_rows = [{"file": str(path), "reason": why} for path, why in passed]
    answer({"model": loaded.name, "photos": rows, "failed": failed, "unused": unused_rows}, json)
    if failed:
        raise UserError(f"{len(failed)} of {len(pairs)} photos were not cleaned; {len(done)} were")


def _replace(target: Path, order: Order) -> bool:
    """Whether existing files may be replaced; asks the user if there are any."""
    from sfumato.denoising.places import outputs

    there = [place for place in outputs(target, order).all if place.exists()]
    return not there or typer.confirm(f"{', '.join(map(str, there))} exists; replace it?", err=True)


def _known(error: BaseException, source: Path) -> UserError | None:
    """An error that concerns one photo only, as one line; None for other errors."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError) or "memory" in str(error).lower():
        return UserError(f"{source}: not enough memory to clean it whole: cut it into parts, or use fewer --samples")
    if isinstance(error, OSError):
        return disk_trouble(error, Path(error.filename or source)) or UserError(f"{source}: {error.strerror or error}")
    return None
