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
LARGEST = 12 * 2**30  # bytes of a file: every weight of SDXL's U-Net in full, fp32
Strength: TypeAlias = float | tuple[float, float]
"""The factor of a LoRA's changes; as a pair: of the denoising network's, and of the text encoders'."""
Loras: TypeAlias = str | Path | Iterable[str | Path | tuple[str | Path, Strength]]
"""A folder in PEFT's format or a safetensors file; or several of them, each alone or as a pair with its strength."""


def weighted(loras: Loras) -> list[tuple[Path, Strength]]:
    """Each LoRA with its strength, 1 if none is given.

    Raises UserError if there is no such LoRA (see `check`), a pair has another form, or a strength is not finite.
    """
    given = [loras] if isinstance(loras, (str, Path)) or not isinstance(loras, Iterable) else list(loras)
    return [_pair(each) for each in given]


def _pair(given: object) -> tuple[Path, Strength]:
    """One LoRA, alone or with its strength."""
    path, strength = given if isinstance(given, tuple) and len(given) == 2 else (given, 1.0)
    each = strength if isinstance(strength, tuple) and len(strength) == 2 else (strength,)
    numbers = [float(number) for number in each if isinstance(number, Real)]
    if not isinstance(path, (str, Path)) or len(numbers) != len(each):
        raise UserError(
            f'lora {given!r}: give a path, or a list of pairs of a path and a weight: [("car/", 0.8)]; '
            'with a weight of the text encoders: [("car/", (0.8, 0.4))]'
        )
    if not str(path):
        raise UserError("lora: the file is not there")
    for number in numbers:
        check_finite(number, str(path))
    check(Path(path))
    return Path(path), numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def check_finite(strength: float, where: str) -> None:
    """Raises UserError if a strength is not finite."""
    if not math.isfinite(strength):
        raise UserError(f"{where}: its weight is {strength}: give a finite number, as 0.8")


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


def both(strength: Strength) -> tuple[float, float]:
    """The strength for the denoising network, and for the text encoders."""
    return strength if isinstance(strength, tuple) else (strength, strength)


def worded(strength: Strength) -> str:
    """A strength in words."""
    denoiser, text = both(strength)
    return f"{denoiser:g}" if denoiser == text else f"{denoiser:g}, text encoders at {text:g}"


def paired(paths: Iterable[Path], strengths: Iterable[str]) -> list[tuple[Path, Strength]]:
    """Each LoRA with its strength, from two lists. strengths: one for each, one for all, or none: 1; each a number, or
    two with a comma: of the denoising network, and of the text encoders. Raises UserError.
    """
    loras, each = list(paths), [_strength(given) for given in strengths] or [1.0]
    each = each * len(loras) if len(each) == 1 else each
    if len(each) != len(loras):
        raise UserError(f"{len(loras)} LoRAs and {len(each)} values of --lora-scale: give one, or one for each LoRA")
    return weighted(zip(loras, each, strict=True))


def _strength(given: str) -> Strength:
    """A strength by its text."""
    try:
        numbers = [float(number) for number in given.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise UserError(f"--lora-scale {given}: give a number, as 0.8, or two, as 0.8,0.4, for U-Net and text encoders")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])
