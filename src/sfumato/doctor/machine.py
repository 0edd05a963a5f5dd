"""The machine: packages, devices, memory, disk."""

from __future__ import annotations

import platform
import shutil
from importlib import metadata
from pathlib import Path

from sfumato.files import Json

Found = tuple[str, object]
PACKAGES = (
    *("torch", "numpy", "pillow", "accelerate", "diffusers", "transformers", "peft"),
    *("datasets", "safetensors", "huggingface-hub", "matplotlib"),
)
GB = 1e9


def packages() -> Found:
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return ", ".join(f"{name} {version or 'MISSING'}" for name, version in versions.items()), versions


def devices() -> Found:
    """Every device with the precision chosen on it, the preferred one first."""
    import torch

    from sfumato.device import best_precision, has_amx, has_avx512_bf16

    all_devices: list[Json] = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory
        all_devices.append({"device": f"cuda:{index}", "name": properties.name, "memory": memory})
    if torch.backends.mps.is_available():
        all_devices.append({"device": "mps", "name": platform.machine(), "memory": None})
    features = {"amx": has_amx(), "avx512_bf16": has_avx512_bf16()}
    level = torch.backends.cpu.get_cpu_capability()
    all_devices.append({"device": "cpu", "name": level, "threads": torch.get_num_threads(), **features})
    for device in all_devices:
        device["precision"] = best_precision(device["device"])
    return "; ".join(map(_described, all_devices)), all_devices


def _described(device: Json) -> str:
    words = f"{device['device']}: {device['name']}"
    if device.get("memory"):
        words += f", {device['memory'] / GB:.0f} GB"
    if "threads" in device:
        words += f", {device['threads']} threads" + (", AMX" if device["amx"] else "")
    slow = " (no AMX, so bf16 would not be faster)" if device["device"] == "cpu" and not device["amx"] else ""
    return f"{words}, computes in {device['precision']}{slow}"


def memory() -> Found:
    import psutil

    memory = psutil.virtual_memory()
    words = f"{memory.available / GB:.1f} GB free of {memory.total / GB:.1f} GB"
    return words, {"free": memory.available, "total": memory.total}


def disk() -> Found:
    from huggingface_hub.constants import HF_HUB_CACHE

    from sfumato.pictures.cache import cache_folder

    places = {"here": Path.cwd(), "cache": cache_folder(), "hub_cache": Path(HF_HUB_CACHE)}
    folders = {name: {"path": str(path), "free": _free(path)} for name, path in places.items()}
    words = [f"{_free(Path.cwd()) / GB:.0f} GB free in this folder"]
    for name, label in (("cache", "the cache"), ("hub_cache", "the Hub's cache")):
        words.append(f"{_free(places[name]) / GB:.0f} GB in {label} {places[name]}")
    return ", ".join(words), folders


def _free(path: Path) -> int:
    return shutil.disk_usage(next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())).free
