"""`sfumato export`."""

from __future__ import annotations

from pathlib import Path

import typer

from sfumato.cli.console import JSON, answer, say
from sfumato.errors import UserError


def export(
    model: str = typer.Argument(..., help="A text-to-image model: a run folder, a checkpoint or a shipped name."),
    out: Path = typer.Option(..., "--out", "-o", help="The folder to make."),
    to: str = typer.Option("diffusers", "--to", help="diffusers: a StableDiffusionPipeline."),
    half: bool = typer.Option(True, help="Weights in fp16, or in fp32."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a folder that is there."),
    json: bool = JSON,
) -> None:
    """Write a text-to-image model in the format of another program.

    sfumato export runs/mini --to diffusers --out mini
    """
    from sfumato.models.latent import latent_of
    from sfumato.zoo import load

    if to != "diffusers":
        raise UserError(f"--to {to}: known formats: diffusers")
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists: --overwrite replaces it")
    loaded = latent_of(load(model, device="cpu", precision="fp32"), "diffusers has no pipeline for it")
    loaded.family.write(loaded, out, half)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    say(f"{out}: {size / 1e6:.1f} MB, for {loaded.family.pipelines}.from_pretrained")
    if json:
        answer({"model": loaded.name, "folder": str(out), "bytes": size})
