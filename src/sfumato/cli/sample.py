"""`sfumato sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from sfumato.cli.console import JSON, answer, console, progress
from sfumato.errors import UserError


def sample(
    model: str = typer.Argument(..., help="A run folder, a checkpoint of it, or the name of a shipped model."),
    n: int = typer.Option(16, "-n", min=1, help="How many pictures."),
    label: list[str] = typer.Option(None, "--label", help="A label to draw; may be given again."),
    prompt: list[str] = typer.Option(None, "--prompt", help="A caption to draw; may be given again."),
    steps: int = typer.Option(None, "--steps", min=1, help="Steps of the sampler [default: the recipe's]."),
    sampler: str = typer.Option(None, "--sampler", help="ddpm, ddim, euler, heun, dpm++2m or dpm++2m-sde."),
    guidance: float = typer.Option(None, "--guidance", help="Classifier-free guidance; 1 is none."),
    seed: int = typer.Option(0, "--seed", min=0, help="Picture k has the seed SEED + k."),
    film: Path = typer.Option(
        None, "--film", help="Write the reverse and the forward process: a GIF, and a PNG strip beside it."
    ),
    out: Path = typer.Option(None, "--out", help="Folder for the pictures [default: samples-MODEL]."),
    each: bool = typer.Option(False, "--each", help="Also write every picture as a PNG of its own."),
    json: bool = JSON,
) -> None:
    """Draw pictures from a model and write them as one grid."""  # fmt: skip
    import time

    from sfumato.files import aside
    from sfumato.show import film as films
    from sfumato.show.grid import as_array, enlarge, grid
    from sfumato.zoo import load

    if label and prompt:
        raise UserError("give --label or --prompt, not both")
    chosen = load(model)
    texts = label or prompt
    options: dict[str, Any] = {"texts": texts, "seed": seed, "steps": steps, "sampler": sampler, "guidance": guidance}
    folder = out or Path(f"samples-{chosen.name}")
    total = n * chosen.settings(steps=steps).steps
    started = time.perf_counter()
    written = []
    with progress("sampling") as tell:
        pictures = chosen.sample(
            n,
            callback=lambda first, step: tell(min(total, first * step.steps + (step.index + 1) * len(step.x)), total),
            **options,
        )
    seconds = time.perf_counter() - started
    captions = [texts[k % len(texts)] for k in range(n)] if texts else None
    path = folder / "grid.png"
    with aside(path) as temporary:
        grid(pictures, captions=captions).save(temporary, format="PNG")
    written.append(path)
    if each:
        for k, picture in enumerate(as_array(pictures)):
            path = folder / f"{seed + k:06d}.png"
            with aside(path) as temporary:
                enlarge(picture, 1).save(temporary, format="PNG")
            written.append(path)
    if film:
        few, reverse = chosen.film(min(n, 8), **options)
        forward = chosen.forward_film(few, seed, steps=steps)
        for process, suffix in ((reverse, ""), (forward, "-forward")):
            moving, still = (film.with_name(f"{film.stem}{suffix}{kind}") for kind in (".gif", ".png"))
            films.gif(process.frames, moving, process.captions)
            films.strip(process.frames, still, captions=process.captions)
            written += [moving, still]
    for path in written:
        console.print(str(path), markup=False)
    if json:
        answer(
            {
                "model": chosen.name,
                "n": n,
                "seed": seed,
                "seconds": seconds,
                "ms_per_picture": 1000 * seconds / n,
                "files": [str(p) for p in written],
            }
        )
