"""LoRAs as arguments: paths with weights. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import TypeAlias

from sfumato.errors import UserError

Loras: TypeAlias = str | Path | Iterable[str | Path | tuple[str | Path, float]]
"""A folder in PEFT's format or a safetensors file; or several of them, each alone or as a pair with its weight."""


def weighted(loras: Loras) -> list[tuple[Path, float]]:
    """Each LoRA with its weight, 1 if none is given.

    Raises UserError if a file does not exist, a pair has another form, or a weight is not finite.
    """
    given = [loras] if isinstance(loras, (str, Path)) or not isinstance(loras, Iterable) else list(loras)
    return [_pair(each) for each in given]


def _pair(given: object) -> tuple[Path, float]:
    """One LoRA, alone or with its weight."""
    path, weight = given if isinstance(given, tuple) and len(given) == 2 else (given, 1.0)
    if not isinstance(path, (str, Path)) or not isinstance(weight, Real):
        raise UserError(f'lora {given!r}: give a path, or a list of pairs of a path and a weight: [("car/", 0.8)]')
    if not str(path) or not Path(path).exists():
        raise UserError(f"{path or 'lora'}: the file is not there")
    if not math.isfinite(weight):
        raise UserError(f"{path}: its weight is {weight}: give a finite number, as 0.8")
    return Path(path), float(weight)


def paired(paths: Iterable[Path], weights: Iterable[float]) -> list[tuple[Path, float]]:
    """Each LoRA with its weight, from two lists. weights: one for each, one for all, or none: 1. Raises UserError."""
    loras, each = list(paths), list(weights) or [1.0]
    each = each * len(loras) if len(each) == 1 else each
    if len(each) != len(loras):
        raise UserError(f"{len(loras)} LoRAs and {len(each)} values of --lora-scale: give one, or one for each LoRA")
    return weighted(zip(loras, each, strict=True))
