"""`sfumato merge`."""

from __future__ import annotations

from pathlib import Path

import typer

from sfumato import api
from sfumato.cli.console import JSON, answer, say
from sfumato.lora.named import paired


def merge(
    loras: list[Path] = typer.Argument(..., help="LoRAs: PEFT folders, or files in kohya's or diffusers' format."),
    base: str = typer.Option(..., "--base", help="The model that the LoRAs were made for: a name, a folder, a Hub id."),
    scale: list[str] = typer.Option(
        None,
        "--lora-scale",
        help="Strength, or two: of U-Net and text encoders, 0.8,0.4; one for all, or one for each LoRA [default: 1].",
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The new folder, in diffusers' format."),
    half: bool = typer.Option(True, help="Write weights in fp16, or in fp32."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an existing folder."),
    json: bool = JSON,
) -> None:
    """Add LoRAs to a base's weights for good, and write the result as a model.

    sfumato merge car/ style.safetensors --base sd15 --lora-scale 1 --lora-scale 0.6 --out merged
    """
    made = api.merge(paired(loras, scale or []), base, out, half=half, overwrite=overwrite)
    for line in made.notes:
        say(line)
    say(f"{out}: a pipeline that loads with {made.pipeline}.from_pretrained")
    answer({"base": base, "loras": [str(path) for path in loras], "folder": str(out)}, json)
