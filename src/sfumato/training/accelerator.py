"""The processes and devices of a training, and its precision."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from accelerate import Accelerator
from accelerate.state import AcceleratorState

from sfumato.device import best_device, best_precision
from sfumato.errors import UserError
from sfumato.recipe.sections import Train as Settings


def precision_of(settings: Settings, device: str) -> str:
    """The recipe's precision, with `auto` resolved for the device."""
    return best_precision(device) if settings.precision == "auto" else settings.precision


def accelerator_for(settings: Settings, folder: Path) -> Accelerator:
    """Devices, mixed precision, processes and trackers, by the launcher and the recipe.

    folder: of the run, into which TensorBoard writes. Raises UserError if a tracker is not installed.
    """
    precision = precision_of(settings, best_device())
    mixed = precision if precision in ("bf16", "fp16") else "no"
    if settings.tracker and find_spec(settings.tracker) is None:
        raise UserError(f"train.tracker={settings.tracker} needs {settings.tracker}: pip install 'sfumato[track]'")
    AcceleratorState._reset_state()  # a process may train again in another precision
    return Accelerator(
        mixed_precision=mixed, cpu=best_device() == "cpu", log_with=settings.tracker, project_dir=str(folder)
    )
