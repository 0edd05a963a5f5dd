"""`sfumato export`."""

from __future__ import annotations

from pathlib import Path

import typer

from sfumato import api
from sfumato.cli.console import JSON, answer, say


def export(
    model: str = typer.Argument(..., help="A text-to-image model: a run folder, a checkpoint or a shipped name."),
    out: Path = typer.Option(..., "--out", "-o", help="The new folder, or the new .safetensors file."),
    to: str = typer.Option(
        "diffusers", "--to", help="Format: diffusers, the folder of a pipeline; or single, one file."
    ),
    half: bool = typer.Option(True, help="Write weights in fp16, or in fp32."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an existing folder or file."),
    json: bool = JSON,
) -> None:
    """Write a text-to-image model in the format of another program.

    sfumato export runs/mini --to diffusers --out mini

    sfumato export merged --to single --out merged.safetensors
    """
    made = api.export(model, out, to=to, half=half, overwrite=overwrite)
    say(f"{out}: {made.bytes / 1e6:.1f} MB, for {made.pipeline}.{made.loader}")
    answer({"model": made.model, "folder": str(out), "bytes": made.bytes}, json)
