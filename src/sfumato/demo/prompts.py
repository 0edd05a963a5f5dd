"""Pictures by the shipped text-to-image model for eight prompts."""

from __future__ import annotations

import time
from pathlib import Path

from sfumato.show import film as films
from sfumato.show.grid import grid
from sfumato.show.report import Picture, Section
from sfumato.zoo import load

PROMPTS = (
    "a red apple on a white background",
    "a large rocket on a blue background",
    "a small snail on a green background",
    "a penguin on a pink background",
    "a violin on a yellow background, on the left",
    "a cat face next to a pizza",
    "an automobile on a grey background",
    "a sunflower on a black background",
)


def section(folder: Path) -> Section:
    """Eight prompts drawn by `mini`, and a film of the reverse process, which is also written into `folder`."""
    began = time.perf_counter()
    drawn, film = load("mini").film(len(PROMPTS), texts=PROMPTS, seed=7)
    seconds = time.perf_counter() - began
    films.gif(film.frames, folder / "prompts.gif", film.captions)
    return Section(
        "Draw from a text",
        [
            f"Eight prompts, drawn by the shipped model mini in {seconds:.0f} seconds. It is built like Stable "
            "Diffusion, but much smaller, and was trained on drawn emoji.",
        ],
        pictures=[
            Picture(grid(drawn, columns=4, captions=PROMPTS), "eight pictures with their prompts"),
            Picture(folder / "prompts.gif", "the same pictures from noise", "The reverse process."),
        ],
        code=['sfumato sample mini --prompt "a large rocket on a blue background" -n 8 --film film.gif'],
    )
