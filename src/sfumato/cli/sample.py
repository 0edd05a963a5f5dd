"""`sfumato sample`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sfumato import registry
from sfumato.cli.console import EVENTS, JSON, SAMPLERS, answer, console, say
from sfumato.cli.screen import Screen
from sfumato.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato.models.model import Model


def sample(
    model: str = typer.Argument(..., help="A run folder, a checkpoint of it, a shipped model or a diffusers folder."),
    n: int = typer.Option(None, "-n", min=1, help="How many pictures [default: 16, or 4 by prompt, or one a prompt]."),
    label: list[str] = typer.Option(None, "--label", help="A label to draw; may be given again."),
    prompt: list[str] = typer.Option(None, "--prompt", help="A caption to draw; may be given again."),
    prompts: Path = typer.Option(None, "--prompts", help="A text file with a prompt a line."),
    negative: str = typer.Option(None, "--negative", help="What guidance leads away from."),
    steps: int = typer.Option(None, "--steps", min=1, help="Steps of the sampler [default: the recipe's]."),
    sampler: str = typer.Option(None, "--sampler", help=SAMPLERS),
    guidance: float = typer.Option(None, "--guidance", help="Classifier-free guidance; 1 is none."),
    rescale: float = typer.Option(None, "--rescale", help="Brings back contrast that guidance inflates: 0 to 1."),
    interval: tuple[float, float] = typer.Option(None, "--interval", help="Sigmas between which guidance acts."),
    eta: float = typer.Option(None, "--eta", help="Of ddim: fresh noise a step, from 0 (none) to 1 (as ddpm)."),
    churn: float = typer.Option(None, "--churn", help="Of heun: noise added anew on the way (S_churn)."),
    lora: list[Path] = typer.Option(None, "--lora", help="A LoRA to lay over the model; may be given again."),
    scale: list[float] = typer.Option(None, "--lora-scale", help="Its weight; once, or once a LoRA [default: 1]."),
    init: Path = typer.Option(None, "--init", help="A picture to start from in place of noise."),
    strength: float = typer.Option(0.7, "--strength", help="How much of --init is drawn anew, above 0 to 1."),
    size: str = typer.Option(None, "--size", help="Of text-to-image: a side, or HEIGHTxWIDTH [default: the model's]."),
    seed: int = typer.Option(0, "--seed", min=0, help="Picture k has the seed SEED + k."),
    film: Path = typer.Option(
        None, "--film", help="Write the reverse and the forward process: a GIF, and a PNG strip beside it."
    ),
    out: Path = typer.Option(None, "--out", help="Folder for the pictures [default: samples-MODEL]."),
    each: bool = typer.Option(False, "--each", help="Also write every picture as a PNG of its own."),
    metadata: bool = typer.Option(True, help="Write prompt, seed, sampler and model into the PNGs."),
    events: bool = EVENTS,
    json: bool = JSON,
) -> None:
    """Draw pictures from a model and write them as one grid.

    sfumato sample cifar10 -n 64 --film film.gif

    sfumato sample runs/words --prompt "a red circle on a white background" --guidance 2 -n 8
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
        warnings.append("an empty prompt asks for nothing: the model draws what it likes")
    for line in warnings:
        say(line)
    folder = out or Path(f"samples-{chosen.name}")
    s = chosen.settings(steps=steps, sampler=sampler, guidance=guidance)
    for name, value, sampler_of in (("--eta", eta, "ddim"), ("--churn", churn, "heun")):
        if value is not None and not registry.takes("sampler", s.sampler, name.removeprefix("--")):
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
