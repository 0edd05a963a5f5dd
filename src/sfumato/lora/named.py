"""LoRAs as arguments: paths with weights. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from sfumato.errors import UserError

Loras: TypeAlias = str | Path | Iterable[str | Path | tuple[str | Path, float]]
"""A folder in PEFT's format or a safetensors file; or several of them, each alone or as a pair with its weight."""


def weighted(loras: Loras) -> list[tuple[Path, float]]:
    """Each LoRA with its weight, 1 if none is given. Raises UserError if a file does not exist."""
    given = [loras] if isinstance(loras, (str, Path)) else list(loras)
    pairs = [each if isinstance(each, tuple) else (each, 1.0) for each in given]
    for path, _ in pairs:
        if not Path(path).exists():
            raise UserError(f"{path}: the file is not there")
    return [(Path(path), float(weight)) for path, weight in pairs]


def paired(paths: Iterable[Path], weights: Iterable[float]) -> list[tuple[Path, float]]:
    """Each LoRA with its weight, from two lists. weights: one for each, one for all, or none: 1. Raises UserError."""
    loras, each = list(paths), list(weights) or [1.0]
    each = each * len(loras) if len(each) == 1 else each
    if len(each) != len(loras):
        raise UserError(f"{len(loras)} LoRAs and {len(each)} values of --lora-scale: give one, or one for each LoRA")
    return weighted(zip(loras, each, strict=True))
