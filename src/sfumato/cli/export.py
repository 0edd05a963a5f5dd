"""`sfumato export`."""

from __future__ import annotations

from pathlib import Path

import typer

from sfumato import api
from sfumato.cli.console import JSON, answer, say


def export(
    model: str = typer.Argument(..., help="A text-to-image model: a run folder, a checkpoint or a shipped name."),
    out: Path = typer.Option(..., "--out", "-o", help="The folder to make."),
    to: str = typer.Option("diffusers", "--to", help="diffusers: a StableDiffusionPipeline."),
    half: bool = typer.Option(True, help="Weights in fp16, or in fp32."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a folder that is there."),
    json: bool = JSON,
) -> None:
    """Write a model in the format of another program.

    sfumato export runs/mini --to diffusers --out mini
    """
    made = api.export(model, out, to=to, half=half, overwrite=overwrite)
    say(f"{out}: {made.bytes / 1e6:.1f} MB, for {made.pipeline}.from_pretrained")
    answer({"model": made.model, "folder": str(out), "bytes": made.bytes}, json)
