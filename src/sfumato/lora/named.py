"""LoRAs as arguments: paths with weights. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import TypeAlias

from sfumato.errors import UserError
from sfumato.files import open_tensors

WEIGHTS = "adapter_model.safetensors"
LARGEST = 4 * 2**30  # bytes of a file
Loras: TypeAlias = str | Path | Iterable[str | Path | tuple[str | Path, float]]
"""A folder in PEFT's format or a safetensors file; or several of them, each alone or as a pair with its weight."""


def weighted(loras: Loras) -> list[tuple[Path, float]]:
    """Each LoRA with its weight, 1 if none is given.

    Raises UserError if there is no such LoRA (see `check`), a pair has another form, or a weight is not finite.
    """
    given = [loras] if isinstance(loras, (str, Path)) or not isinstance(loras, Iterable) else list(loras)
    return [_pair(each) for each in given]


def _pair(given: object) -> tuple[Path, float]:
    """One LoRA, alone or with its weight."""
    path, weight = given if isinstance(given, tuple) and len(given) == 2 else (given, 1.0)
    if not isinstance(path, (str, Path)) or not isinstance(weight, Real):
        raise UserError(f'lora {given!r}: give a path, or a list of pairs of a path and a weight: [("car/", 0.8)]')
    if not str(path):
        raise UserError("lora: the file is not there")
    if not math.isfinite(weight):
        raise UserError(f"{path}: its weight is {weight}: give a finite number, as 0.8")
    check(Path(path))
    return Path(path), float(weight)


def check(path: Path) -> None:
    """Raises UserError if there is no LoRA, by a folder's files or a file's name, size and header; reads no tensor."""
    if path.is_dir():
        if not any(path.glob(WEIGHTS)) and not any(path.glob(f"*/{WEIGHTS}")):
            raise UserError(f"{path} is not a LoRA folder: it has no {WEIGHTS}")
        return
    if path.suffix in (".pt", ".bin", ".ckpt", ".pth"):
        raise UserError(f"{path} can run code when it is loaded: use the .safetensors file of the same LoRA")
    if not path.is_file():
        raise UserError(f"{path}: the file is not there")
    if (size := path.stat().st_size) > LARGEST:
        raise UserError(f"{path} is larger than any LoRA ({size / 2**30:.1f} GB)")
    with open_tensors(path, "np"):
        pass


def paired(paths: Iterable[Path], weights: Iterable[float]) -> list[tuple[Path, float]]:
    """Each LoRA with its weight, from two lists. weights: one for each, one for all, or none: 1. Raises UserError."""
    loras, each = list(paths), list(weights) or [1.0]
    each = each * len(loras) if len(each) == 1 else each
    if len(each) != len(loras):
        raise UserError(f"{len(loras)} LoRAs and {len(each)} values of --lora-scale: give one, or one for each LoRA")
    return weighted(zip(loras, each, strict=True))
