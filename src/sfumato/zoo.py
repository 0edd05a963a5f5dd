"""Models by name or path: shipped ones, run folders, checkpoints, bases, files, and LoRAs that name their base."""

from __future__ import annotations

from pathlib import Path

from sfumato.device import best_device, best_precision
from sfumato.models import zoo
from sfumato.models.model import Model


def load(name: str | Path, device: str | None = None, precision: str | None = None) -> Model:
    """A model by run folder, checkpoint folder, safetensors file (a run's, or a base in one), LoRA folder, or name.

    Raises UserError if there is none, or what is there is not whole.
    """
    path, called = Path(name), zoo.called_as(name)
    device = device or best_device()
    precision = precision or best_precision(device)
    if zoo.is_single(path):
        return zoo.read_file(path, called, device, precision)
    if zoo.is_tuned(path):
        from sfumato.lora import tuned  # needs PEFT, which is slow to import

        base = load(tuned.base_of(path), device, precision)
        return tuned.finished(path, base, called)
    folder, weights = zoo.find(name)
    if zoo.task_of(folder) == "tune":
        from sfumato.lora import tuned

        config = zoo.config_of(folder)
        base = load(tuned.base_of_run(config, folder), device, precision)
        return tuned.unfinished(config, folder / weights, base, called)
    return zoo.read(folder, weights, called, device, precision)
