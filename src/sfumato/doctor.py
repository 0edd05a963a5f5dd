"""What can run here: device, memory, versions, data, models, extras, and what would have to be downloaded."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "numpy",
    "pillow",
    "accelerate",
    "diffusers",
    "transformers",
    "peft",
    "datasets",
    "safetensors",
)
EXTRAS = {"track": ("tensorboard", "wandb")}
DATASETS = ("cifar10", "bsds500", "cbsd68")


@dataclass(frozen=True)
class Diagnosis:
    """One line a subject, in the order in which they are shown; a part that failed says so itself."""

    lines: dict[str, str]

    def rows(self) -> list[tuple[str, str]]:
        return list(self.lines.items())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)["lines"]


def diagnose() -> Diagnosis:
    """Look around. Never fails, and takes a few seconds."""
    checks: dict[str, Callable[[], str]] = {
        "sfumato": lambda: metadata.version("sfumato"),
        "python": lambda: f"{platform.python_version()} on {platform.platform()}",
        "packages": lambda: ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "device": _device,
        "precision": _precision,
        "memory": _memory,
        "disk": _disk,
        "shipped recipes": _recipes,
        "shipped models": _models,
        "datasets": _datasets,
        "judging offline": _offline,
        "extras": _extras,
        "needs a download": lambda: (
            "inception (FID), dinov2 and clip features; Stable Diffusion. Set HF_HOME to keep them."
        ),
    }
    lines = {}
    for name, check in checks.items():
        try:
            lines[name] = check()
        except Exception as error:  # one broken part must not hide the others
            lines[name] = f"could not be read: {type(error).__name__}: {error}"
    return Diagnosis(lines)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _device() -> str:
    import torch

    from sfumato.device import best_device

    device = best_device()
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GB"
    return f"{device}, {torch.get_num_threads()} threads" if device == "cpu" else device


def _precision() -> str:
    from sfumato.device import best_device, best_precision

    chosen = best_precision(best_device())
    slow = "; no fast bf16 here, so training is about three times slower than it could be"
    return chosen + (slow if best_device() == "cpu" and chosen == "fp32" else "")


def _memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    return f"{memory.available / 2**30:.1f} GB free of {memory.total / 2**30:.1f} GB"


def _disk() -> str:
    from sfumato.pictures.cache import cache_folder

    cache = cache_folder()
    there = next(path for path in (cache, *cache.parents) if path.exists())
    here = shutil.disk_usage(Path.cwd()).free / 2**30
    return f"{here:.0f} GB free here, {shutil.disk_usage(there).free / 2**30:.0f} GB in the cache {cache}"


def _recipes() -> str:
    from sfumato.recipe import shipped

    return ", ".join(shipped())


def _models() -> str:
    from sfumato.model import models

    return ", ".join(models()) or "none"


def _datasets() -> str:
    root = os.environ.get("SFUMATO_DATA")
    if not root:
        return "SFUMATO_DATA is not set: CIFAR-10 would come from the Hub"
    found = [name for name in DATASETS if (Path(root) / name).is_dir()]
    return f"{', '.join(found) or 'none'} in {root}"


def _offline() -> str:
    from sfumato.judge.features import open_features

    return f"yes, on {open_features('mini').dim} features of our own"


def _extras() -> str:
    missing = [
        f"{extra} (pip install 'sfumato[{extra}]')"
        for extra, modules in EXTRAS.items()
        if not any(importlib.util.find_spec(module) for module in modules)
    ]
    return "not installed: " + ", ".join(missing) if missing else "all installed"
