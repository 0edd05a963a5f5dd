"""PNG files with prompt, seed, sampler and model in A1111's format."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, PngImagePlugin

from sfumato.files import aside
from sfumato.version import __version__

KEY = "parameters"
SAMPLERS = {
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "euler": "Euler",
    "heun": "Heun",
    "dpm++2m": "DPM++ 2M",
    "dpm++2m-sde": "DPM++ 2M SDE",
}


def parameters(
    prompt: str, negative: str | None, steps: int, sampler: str, guidance: float, seed: int, size: tuple[int, int],
    model: str,
) -> str:  # fmt: skip
    """The text under "parameters": the prompt, the negative prompt, and a line of settings; size: (height, width)."""
    lines = [prompt, *([f"Negative prompt: {negative}"] if negative else [])]
    settings = {
        "Steps": steps, "Sampler": SAMPLERS.get(sampler, sampler), "CFG scale": f"{guidance:g}", "Seed": seed,
        "Size": f"{size[1]}x{size[0]}", "Model": model, "Version": f"sfumato {__version__}",
    }  # fmt: skip
    return "\n".join([*lines, ", ".join(f"{key}: {value}" for key, value in settings.items())])


def save_png(image: Image.Image, path: Path, text: str | None = None) -> None:
    """Write a PNG, with `text` under "parameters" if there is any."""
    info = PngImagePlugin.PngInfo()
    if text:
        info.add_itxt(KEY, text) if not text.isascii() else info.add_text(KEY, text)
    with aside(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=info)
