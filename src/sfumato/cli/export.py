"""`sfumato export`."""

from __future__ import annotations

from pathlib import Path

import typer

from sfumato.cli.console import JSON, answer, say
from sfumato.errors import UserError


def export(
    model: str = typer.Argument(..., help="A text-to-image model: a run folder, a checkpoint or a shipped name."),
    out: Path = typer.Option(..., "--out", "-o", help="The folder to make, or the .safetensors file."),
    to: str = typer.Option("diffusers", "--to", help="diffusers: a pipeline's folder; single: one file."),
    half: bool = typer.Option(True, help="Weights in fp16, or in fp32."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    json: bool = JSON,
) -> None:
    """Write a model in the format of another program.

    sfumato export runs/mini --to diffusers --out mini

    sfumato export merged --to single --out merged.safetensors
    """
    from sfumato.models.latent import latent_of
    from sfumato.zoo import load

    if to not in ("diffusers", "single"):
        raise UserError(f"--to {to}: known formats: diffusers, single")
    if to == "single" and out.suffix != ".safetensors":
        raise UserError(f"--out {out}: one file is called NAME.safetensors")
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists: --overwrite replaces it")
    loaded = latent_of(load(model, device="cpu", precision="fp32"), "diffusers has no pipeline for it")
    write = loaded.family.write_file if to == "single" else loaded.family.write
    write(loaded, out, half)
    size = sum(file.stat().st_size for file in (out, *out.rglob("*")) if file.is_file())
    loader = "from_single_file" if to == "single" else "from_pretrained"
    say(f"{out}: {size / 1e6:.1f} MB, for {loaded.family.pipelines}.{loader}")
    if json:
        answer({"model": loaded.name, "folder": str(out), "bytes": size})
