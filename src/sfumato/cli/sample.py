"""`sfumato sample`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sfumato.cli.console import EVENTS, JSON, answer, console, say
from sfumato.cli.screen import Screen
from sfumato.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.models.model import Model


def sample(
    model: str = typer.Argument(
        ...,
        help="A shipped model (cifar10, mini), a run folder or checkpoint, sd15, sd2, a diffusers folder, a Hub id.",
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
    sampler: str = typer.Option(
        None, "--sampler", help="ddpm, ddim, euler, heun, dpm++2m or dpm++2m-sde [default: the model's]."
    ),
    guidance: float = typer.Option(
        None, "--guidance", help="How closely to follow the prompt; 1: no guidance [default: the model's]."
    ),
    rescale: float = typer.Option(None, "--rescale", help="Reduce the contrast that guidance inflates, 0 (off) to 1."),
    interval: tuple[float, float] = typer.Option(
        None, "--interval", help="Apply guidance only between these two sigmas."
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
        None, "--film", help="A GIF of the way from noise to pictures (beside it a PNG strip, and the way to noise)."
    ),
    out: Path = typer.Option(None, "--out", help="Folder for the pictures [default: samples-MODEL]."),
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

    from sfumato.show.grid import as_array, enlarge, grid
    from sfumato.show.png import parameters, save_png
    from sfumato.zoo import load

    texts = _told(label, prompt, prompts)
    chosen = _sized(load(model), size)
    if lora:
        from sfumato.lora.apply import apply

        for line in apply(chosen, lora, scale or []):
            say(line)
    count = n or (len(texts) if prompts and texts else 4 if texts and not label else 16)
    options: dict[str, Any] = {
        "texts": texts, "seed": seed, "steps": steps, "sampler": sampler, "guidance": guidance, "rescale": rescale,
        "interval": interval, "eta": eta, "churn": churn, "negative": negative,
        "init": _picture(init, chosen) if init else None, "strength": strength,
    }  # fmt: skip
    warnings = chosen.warnings(texts, negative)
    if any(not text.strip() for text in texts or []):
        warnings.append("an empty prompt: the model draws pictures of any kind")
    for line in warnings:
        say(line)
    folder = out or Path(f"samples-{chosen.name}")
    s = chosen.settings(steps=steps, sampler=sampler, guidance=guidance)
    for name, value, sampler_of in (("--eta", eta, "ddim"), ("--churn", churn, "heun")):
        if value is not None and s.sampler != sampler_of:
            raise UserError(f"{name} is an option of {sampler_of}, and this is {s.sampler}: add --sampler {sampler_of}")
    started = time.perf_counter()
    with Screen(json, events) as screen:
        pictures = chosen.sample(
            count,
            callback=lambda first, step: screen.stages(
                "sampling",
                min(count * step.steps, first * step.steps + (step.index + 1) * len(step.x)),
                count * step.steps,
            ),
            **options,
        )
    seconds = time.perf_counter() - started

    def made(k: int) -> str | None:
        told = texts[k % len(texts)] if texts else ""
        about = parameters(told, negative, s.steps, s.sampler, s.guidance, seed + k, chosen.shape[1:], chosen.name)
        return about if metadata else None

    captions = [texts[k % len(texts)] for k in range(count)] if texts else None
    written = [folder / "grid.png"]
    save_png(grid(pictures, captions=captions), written[0], made(0))
    if each:
        for k, picture in enumerate(as_array(pictures)):
            written.append(folder / f"{seed + k:06d}.png")
            save_png(enlarge(picture, 1), written[-1], made(k))
    if film:
        written += _films(chosen, film, min(count, 8), options)
    for path in written:
        console.print(str(path), markup=False)
    answer({
        "model": chosen.name, "n": count, "seed": seed, "seconds": seconds, "ms_per_picture": 1000 * seconds / count,
        "files": [str(p) for p in written], "warnings": warnings,
    }, json)  # fmt: skip


def _told(label: list[str] | None, prompt: list[str] | None, prompts: Path | None) -> list[str] | None:
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


def _sized(model: Model, size: str | None) -> Model:
    if size is None:
        return model
    sides = size.lower().split("x")
    if not all(side.isdigit() for side in sides) or len(sides) > 2:
        raise UserError(f"--size {size}: a side as 512, or HEIGHTxWIDTH as 512x768")
    return model.sized(int(sides[0]), int(sides[-1]))


def _picture(path: Path, model: Model) -> Tensor:
    """A picture file, cropped and scaled to what the model draws, uint8 (C, H, W)."""
    import torch

    from sfumato.pictures.crop import channels, fit
    from sfumato.pictures.decode import PictureError, decode

    try:
        picture = decode(path)
    except (PictureError, OSError) as error:
        raise UserError(f"--init {path}: {error}") from error
    return torch.from_numpy(channels(fit(picture, model.shape[1:])[None], model.shape[0])[0].copy())


def _films(model: Model, film: Path, n: int, options: dict[str, Any]) -> list[Path]:
    """The way from noise to pictures, and from those to noise."""
    from sfumato.show import film as films

    few, reverse = model.film(n, **options)
    forward = model.forward_film(few, options["seed"], steps=options["steps"])
    written = []
    for process, suffix in ((reverse, ""), (forward, "-forward")):
        moving, still = (film.with_name(f"{film.stem}{suffix}{kind}") for kind in (".gif", ".png"))
        films.gif(process.frames, moving, process.captions)
        films.strip(process.frames, still, captions=process.captions)
        written += [moving, still]
    return written
