"""`sfumato sample`."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sfumato import api
from sfumato.cli.console import EVENTS, JSON, SAMPLERS, answer, may_replace, say
from sfumato.cli.screen import Screen
from sfumato.errors import UserError
from sfumato.files import check_folder
from sfumato.lora.named import paired
from sfumato.models.sampling import Sampling, check_count, check_init

if TYPE_CHECKING:
    import numpy as np

    from sfumato.models.model import Model
    from sfumato.models.samples import Samples


def sample(
    model: str = typer.Argument(
        ...,
        help="A shipped model (cifar10, mini), a run folder or checkpoint, sd15, sd2, sdxl, a folder, file or Hub id.",
    ),
    n: int = typer.Option(
        None, "-n", min=1, help="Number of pictures [default: 16; with --prompt 4; with --prompts one for each]."
    ),
    label: list[str] = typer.Option(
        None, "--label", help="Label of the pictures, for a model with labels; can be repeated."
    ),
    prompt: list[str] = typer.Option(
        None, "--prompt", help="Text of the pictures, for a model with captions; can be repeated."
    ),
    prompts: Path = typer.Option(None, "--prompts", help="A text file with one prompt per line."),
    negative: str = typer.Option(None, "--negative", help="Negative prompt: what the pictures should not show."),
    steps: int = typer.Option(
        None, "--steps", min=1, help="Steps of the sampler; more is slower and finer [default: the model's]."
    ),
    sampler: str = typer.Option(None, "--sampler", help=f"{SAMPLERS} [default: the model's]"),
    guidance: float = typer.Option(
        None, "--guidance", help="How closely to follow the prompt; 1: no guidance [default: the model's]."
    ),
    rescale: float = typer.Option(None, "--rescale", help="Reduce the contrast that guidance increases, 0 (off) to 1."),
    interval: tuple[float, float] = typer.Option(
        None, "--interval", help="Apply guidance only between these two sigmas, the lower first."
    ),
    eta: float = typer.Option(None, "--eta", help="ddim: fresh noise in each step, from 0 (none) to 1 (as ddpm)."),
    churn: float = typer.Option(None, "--churn", help="heun: amount of fresh noise in each step (S_churn)."),
    lora: list[Path] = typer.Option(
        None, "--lora", help="A LoRA to add to the model, a file or a folder; can be repeated."
    ),
    scale: list[float] = typer.Option(
        None, "--lora-scale", help="Strength of the LoRA; one for all, or one for each [default: 1]."
    ),
    init: Path = typer.Option(None, "--init", help="Image to image: the picture to start from."),
    strength: float = typer.Option(0.7, "--strength", help="How much of --init is replaced, above 0 to 1."),
    size: str = typer.Option(
        None, "--size", help="Text to image: a side in pixels, or HEIGHTxWIDTH [default: the model's]."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of the first picture; picture k has SEED + k."),
    film: Path = typer.Option(
        None,
        "--film",
        help="File for a GIF of the steps from noise to pictures; also writes a PNG strip, and the steps to noise.",
    ),
    out: Path = typer.Option(
        None, "--out", help="Folder for the pictures [default: samples-MODEL; samples-MODEL-2 if there is one ...]."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace existing files without asking."),
    each: bool = typer.Option(False, "--each", help="Also write every picture into its own PNG file."),
    metadata: bool = typer.Option(True, help="Write prompt, seed, sampler and model into the PNGs."),
    events: bool = EVENTS,
    json: bool = JSON,
) -> None:
    """Draw pictures with a model and write them as a grid, grid.png.

    sfumato sample cifar10 -n 64 --film film.gif

    sfumato sample mini --prompt "a tomato on a black background" -n 8
    """
    import time

    from sfumato.models.names import check

    sides = _sides(size)
    texts = _texts(label, prompt, prompts)
    how = Sampling(
        steps, sampler, guidance, rescale, interval, eta, churn, negative=negative, strength=strength
    )  # fmt: skip
    how.check()
    check(model)
    loras = paired(lora or (), scale or ())
    count = n or (len(texts) if prompts and texts else max(len(texts or ()), 4 if texts and not label else 16))
    check_count(count, texts or ())
    check_init(init)
    for place in (out or Path(), film.parent if film else Path()):
        check_folder(place)
    pictures = _files(out, each, count, seed) if out else []
    _check_unmixed(out, pictures)
    may_replace([*pictures, *(_film_files(film) if film else ())], overwrite)
    from sfumato.models.samples import doubts
    from sfumato.pictures.given import read

    with Screen(json, events) as screen:
        picture = None if init is None else read(init)
        chosen, notes = _model(model, loras, sides, screen)
        chosen.settings(how)
        folder = out or _free(f"samples-{chosen.name}")
        check_folder(folder)
        for line in notes:
            say(line)
        for line in doubts(chosen, texts or (), negative):
            say(line)
        started = time.perf_counter()
        drawn = api.sample(chosen, count, texts=texts or (), seed=seed, sampling=how, init=picture, progress=screen)
        seconds = time.perf_counter() - started
        written = _write(drawn, folder, each, negative if metadata else None, metadata)
        if film:
            written += _films(chosen, film, drawn, how, picture)
    for path in written:
        say(str(path))
    answer({
        "model": drawn.model, "n": count, "seed": seed, "seconds": seconds, "ms_per_picture": 1000 * seconds / count,
        "files": [str(p) for p in written], "warnings": list(drawn.warnings),
    }, json)  # fmt: skip


def _model(
    name: str, loras: list[tuple[Path, float]], sides: tuple[int, int] | None, screen: Screen
) -> tuple[Model, list[str]]:
    """The model with LoRAs over it, for pictures of a size, and a line on each LoRA."""
    from sfumato.lora.apply import over
    from sfumato.zoo import opened

    model = opened(name, screen, screen.stop)
    model = model if sides is None else model.sized(*sides)
    return over(model, loras) if loras else (model, [])


def _write(drawn: Samples, folder: Path, each: bool, negative: str | None, metadata: bool) -> list[Path]:
    """The grid, and every picture by itself."""
    from sfumato.show.png import parameters, save_png

    def made(k: int) -> str | None:
        s, size = drawn.settings, (drawn.pictures.shape[1], drawn.pictures.shape[2])
        prompt = drawn.texts[k] if drawn.texts else ""
        about = parameters(prompt, negative, s.steps, s.sampler, s.guidance, drawn.seeds[k], size, drawn.model)
        return about if metadata else None

    written = _files(folder, each, len(drawn), drawn.seeds[0])
    save_png(drawn.grid(), written[0], made(0))
    for k, (image, path) in enumerate(zip(drawn.images() if each else (), written[1:], strict=True)):
        save_png(image, path, made(k))
    return written


def _files(folder: Path, each: bool, n: int, seed: int) -> list[Path]:
    """The grid, and with `each` a file for every picture, named by its seed."""
    return [folder / "grid.png", *(folder / f"{seed + k:06d}.png" for k in range(n if each else 0))]


def _check_unmixed(folder: Path | None, files: list[Path]) -> None:
    """Raises UserError if pictures of another sampling would be left among the new ones."""
    others = (path for path in (folder.glob("*.png") if folder else ()) if re.fullmatch(r"\d{6}", path.stem))
    if (other := next((path for path in sorted(others) if path not in files), None)) is not None:
        raise UserError(f"{other} is from another sampling, which would be mixed with this one: choose another --out")


def _film_files(film: Path) -> list[Path]:
    """The way from noise to pictures as a film and as a strip, then the way to noise."""
    return [film.with_name(f"{film.stem}{suffix}{kind}") for suffix in ("", "-forward") for kind in (".gif", ".png")]


def _free(name: str) -> Path:
    """A folder of this name that does not exist yet, with a number if need be."""
    return next(path for k in itertools.count(1) if not (path := Path(name if k == 1 else f"{name}-{k}")).exists())


def _texts(label: list[str] | None, prompt: list[str] | None, prompts: Path | None) -> list[str] | None:
    if sum(map(bool, (label, prompt, prompts))) > 1:
        raise UserError("give --label or --prompt, not both, or a file of --prompts alone")
    if prompts is None:
        return label or prompt
    try:
        lines = [line.strip() for line in prompts.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{prompts}: not readable as text, a prompt a line") from error
    if not any(lines):
        raise UserError(f"{prompts} is empty: write a prompt a line")
    return [line for line in lines if line]


def _sides(size: str | None) -> tuple[int, int] | None:
    """Height and width of --size."""
    if size is None:
        return None
    sides = size.lower().split("x")
    if not all(side.isdigit() for side in sides) or len(sides) > 2:
        raise UserError(f"--size {size}: a side as 512, or HEIGHTxWIDTH as 512x768")
    return int(sides[0]), int(sides[-1])


def _films(model: Model, film: Path, drawn: Samples, how: Sampling, init: np.ndarray | None) -> list[Path]:
    """The way from noise to the first pictures, and from those to noise."""
    from sfumato.pictures.given import fitted
    from sfumato.show import film as films

    n, seed = min(len(drawn), 8), drawn.seeds[0]
    start = None if init is None else fitted(init, model.shape)
    few, reverse = model.film(n, texts=drawn.texts, seed=seed, sampling=how, init=start)
    forward = model.forward_film(few, seed, Sampling(steps=how.steps))
    written = _film_files(film)
    for process, (moving, still) in zip((reverse, forward), (written[:2], written[2:]), strict=True):
        films.gif(process.frames, moving, process.captions)
        films.strip(process.frames, still, captions=process.captions)
    return written
