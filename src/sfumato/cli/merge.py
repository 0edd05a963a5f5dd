"""`sfumato merge`."""

from __future__ import annotations

from pathlib import Path

import typer

from sfumato.cli.console import JSON, answer, say
from sfumato.errors import UserError


def merge(
    loras: list[Path] = typer.Argument(..., help="LoRAs: PEFT folders, or files in kohya's or diffusers' format."),
    base: str = typer.Option(..., "--base", help="The model that the LoRAs were made for: a name, a folder, a Hub id."),
    scale: list[float] = typer.Option(
        None, "--lora-scale", help="Strength; one for all, or one for each LoRA [default: 1]."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The new folder, in diffusers' format."),
    half: bool = typer.Option(True, help="Write weights in fp16, or in fp32."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an existing folder."),
    json: bool = JSON,
) -> None:
    """Add LoRAs to a base's weights for good, and write the result as a model.

    sfumato merge car/ style.safetensors --base sd15 --lora-scale 1 --lora-scale 0.6 --out merged
    """
    from sfumato.lora.apply import apply
    from sfumato.models.latent import latent_of
    from sfumato.zoo import load

    if out.exists() and not overwrite:
        raise UserError(f"{out} exists: --overwrite replaces it")
    model = latent_of(load(base, device="cpu", precision="fp32"))
    for line in apply(model, loras, scale or []):
        say(line)
    model.family.write(model, out, half)
    say(f"{out}: a pipeline that loads with {model.family.pipelines}.from_pretrained")
    if json:
        answer({"base": base, "loras": [str(path) for path in loras], "folder": str(out)})
