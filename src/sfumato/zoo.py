"""Models by name or path: shipped ones, run folders, checkpoints, bases, files, and LoRAs that name their base."""

from __future__ import annotations

from pathlib import Path

from sfumato.device import best_device, best_precision
from sfumato.models import names, reading
from sfumato.models.model import Model
from sfumato.progress import Progress, Stop, phase


def load(name: str | Path, device: str | None = None, precision: str | None = None) -> Model:
    """Load a model.

    name: a run folder, a checkpoint folder, a safetensors file (of a run, or a base in one file), a LoRA folder, a
    shipped model, a base, or a Hub id. device, precision: None for the fastest.
    Raises UserError if there is no such model, or if its files are incomplete or damaged.
    """
    path, called = Path(name), names.called_as(name)
    device = device or best_device()
    precision = precision or best_precision(device)
    if names.is_single(path):
        return reading.read_file(path, called, device, precision)
    if names.is_tuned(path):
        from sfumato.lora import tuned  # needs PEFT, which is slow to import

        base = load(tuned.base_of(path), device, precision)
        return tuned.finished(path, base, called)
    folder, weights = reading.find(name)
    if reading.task_of(folder) == "tune":
        from sfumato.lora import tuned

        config = reading.config_of(folder)
        base = load(tuned.base_of_run(config, folder), device, precision)
        return tuned.unfinished(config, folder / weights, base, called)
    return reading.read(folder, weights, called, device, precision)


def exact(name: str | Path | Model) -> Model:
    """A model to write: a name is loaded on the CPU in fp32; a loaded model is returned as it is. Raises UserError."""
    return name if isinstance(name, Model) else load(name, "cpu", "fp32")


def opened(name: str | Path | Model, progress: Progress | None = None, stop: Stop | None = None) -> Model:
    """A name is loaded as the phase "loading"; a loaded model is returned as it is. Raises UserError, Stopped."""
    if isinstance(name, Model):
        return name
    loading = phase("loading", progress, stop)
    loading(0, 1)
    model = load(name)
    loading(1, 1)
    return model
