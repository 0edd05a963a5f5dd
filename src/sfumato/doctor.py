"""What can run here: device, memory, versions, data, models, extras, and what would have to be downloaded."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from sfumato import __version__

PACKAGES = (
    *("torch", "numpy", "pillow", "accelerate", "diffusers", "transformers", "peft"),
    *("datasets", "safetensors", "huggingface-hub", "matplotlib"),
)
EXTRAS = {"track": ("tensorboard", "wandb")}
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".parquet"}
MOST_FILES = 5000  # of a dataset's folder that are looked at
MB, GB = 1e6, 1e9


@dataclass(frozen=True)
class Finding:
    """One subject: in words, and as JSON; a part that could not be looked at says so in both."""

    name: str
    words: str
    value: Any


@dataclass(frozen=True)
class Diagnosis:
    """The findings, in the order in which they are shown."""

    findings: list[Finding]

    def rows(self) -> list[tuple[str, str]]:
        """(subject, words)."""
        return [(finding.name, finding.words) for finding in self.findings]

    def to_json(self) -> dict[str, Any]:
        """Subject -> what was found; `{"error": ...}` for a part that could not be looked at."""
        return {finding.name.replace(" ", "_"): finding.value for finding in self.findings}


Found = tuple[str, Any]


def diagnose() -> Diagnosis:
    """Look around, and time one small network. Never fails, uses no network, and takes a few seconds."""
    pace: dict[str, float] = {}
    checks: dict[str, Callable[[], Found]] = {
        "sfumato": lambda: (__version__, __version__),
        "python": lambda: (f"{platform.python_version()} on {platform.platform()}",) * 2,
        "packages": _packages,
        "devices": _devices,
        "memory": _memory,
        "disk": _disk,
        "datasets": _datasets,
        "models": _models,
        "extras": _extras,
        "downloads": _downloads,
        "train": partial(_train, pace),
        "sample": partial(_sample, pace),
        "judge": _judge,
    }
    return Diagnosis([_guarded(name, check) for name, check in checks.items()])


def _guarded(name: str, check: Callable[[], Found]) -> Finding:
    try:
        return Finding(name, *check())
    except Exception as error:  # one broken part must not hide the others
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return Finding(name, f"could not be looked at ({why})", {"error": why})


def _packages() -> Found:
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return ", ".join(f"{name} {version or 'MISSING'}" for name, version in found.items()), found


def _devices() -> Found:
    """Every device with the precision chosen on it, the preferred one first."""
    import torch

    from sfumato.device import best_precision, has_amx, has_avx512_bf16

    found: list[dict[str, Any]] = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory
        found.append({"device": f"cuda:{index}", "name": properties.name, "memory": memory})
    if torch.backends.mps.is_available():
        found.append({"device": "mps", "name": platform.machine(), "memory": None})
    features = {"amx": has_amx(), "avx512_bf16": has_avx512_bf16()}
    level = torch.backends.cpu.get_cpu_capability()
    found.append({"device": "cpu", "name": level, "threads": torch.get_num_threads(), **features})
    for device in found:
        device["precision"] = best_precision(device["device"])
    return "; ".join(map(_described, found)), found


def _described(device: dict[str, Any]) -> str:
    words = f"{device['device']}: {device['name']}"
    if device.get("memory"):
        words += f", {device['memory'] / GB:.0f} GB"
    if "threads" in device:
        words += f", {device['threads']} threads" + (", AMX" if device["amx"] else "")
    slow = " (no AMX, so bf16 would not be faster)" if device["device"] == "cpu" and not device["amx"] else ""
    return f"{words}, works in {device['precision']}{slow}"


def _memory() -> Found:
    import psutil

    memory = psutil.virtual_memory()
    words = f"{memory.available / GB:.1f} GB free of {memory.total / GB:.1f} GB"
    return words, {"free": memory.available, "total": memory.total}


def _disk() -> Found:
    from huggingface_hub.constants import HF_HUB_CACHE

    from sfumato.pictures.cache import cache_folder

    places = {"here": Path.cwd(), "cache": cache_folder(), "hub_cache": Path(HF_HUB_CACHE)}
    found = {name: {"path": str(path), "free": _free(path)} for name, path in places.items()}
    words = [f"{_free(Path.cwd()) / GB:.0f} GB free here"]
    for name, label in (("cache", "the cache"), ("hub_cache", "the Hub's cache")):
        words.append(f"{_free(places[name]) / GB:.0f} GB in {label} {places[name]}")
    return ", ".join(words), found


def _free(path: Path) -> int:
    return shutil.disk_usage(next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())).free


def _datasets() -> Found:
    from sfumato.pictures.source import data_folder

    shelf = data_folder()
    if shelf is None:
        return "SFUMATO_DATA is not set; shapes needs no data", {"folder": None, "found": {}}
    if not shelf.is_dir():
        return f"SFUMATO_DATA is {shelf}, which is not a folder", {"folder": str(shelf), "found": {}}
    found = {folder.name: count for folder in sorted(shelf.iterdir()) if folder.is_dir() and (count := _count(folder))}
    names = [f"{name} ({_files(count)})" for name, count in found.items()]
    return f"{', '.join(names) or 'none'} in {shelf}", {"folder": str(shelf), "found": found}


def _count(folder: Path) -> int:
    """Files with pictures in a folder and below, up to MOST_FILES."""
    count = looked = 0
    for _, _, names in os.walk(folder):
        count += sum(Path(name).suffix.lower() in PICTURES for name in names)
        looked += len(names)
        if looked >= MOST_FILES:
            break
    return count


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files" if count < MOST_FILES else f"{MOST_FILES:,} files or more"


def _models() -> Found:
    from sfumato.zoo import models

    drawing = models()
    shelf = Path(str(resources.files("sfumato") / "pretrained"))
    folders = sorted(p.parent for p in shelf.glob("*/config.json"))
    found = {
        folder.name: {
            "bytes": sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
            "card": (folder / "README.md").is_file(),
            "draws": folder.name in drawing,
        }
        for folder in folders
    }
    return ", ".join(f"{name} ({v['bytes'] / MB:.1f} MB)" for name, v in found.items()) or "none are shipped", found


def _extras() -> Found:
    found = {
        extra: {module: importlib.util.find_spec(module) is not None for module in modules}
        for extra, modules in EXTRAS.items()
    }
    words = [
        ", ".join(f"{module} {'is there' if there else 'is missing'}" for module, there in modules.items())
        + ("" if all(modules.values()) else f": pip install 'sfumato[{extra}]'")
        for extra, modules in found.items()
    ]
    return "; ".join(words), found


def _downloads() -> Found:
    """What comes from the network when it is first asked for, and whether it is here already."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    from sfumato.judge.features import CLIP, DINOV2
    from sfumato.judge.weights import INCEPTION_URL
    from sfumato.judge.weights import found as at_home
    from sfumato.pictures.cifar10 import HUB_NAME
    from sfumato.pictures.source import data_folder

    def on_hand(repo: str) -> bool:
        cached = try_to_load_from_cache(repo, "model.safetensors")
        return at_home(repo.rsplit("/", 1)[-1]) is not None or isinstance(cached, str)

    shelf = data_folder()
    cifar10 = Path(HF_HUB_CACHE) / f"datasets--{HUB_NAME.replace('/', '--')}"
    table: list[tuple[str, str, str, float, bool]] = [
        ("inception", "FID", INCEPTION_URL, 96 * MB, at_home(INCEPTION_URL.rsplit("/", 1)[-1]) is not None),
        ("dinov2", "FD on DINOv2", DINOV2, 346 * MB, on_hand(DINOV2)),
        ("clip", "FD on CLIP, likeness to a prompt", CLIP, 1710 * MB, on_hand(CLIP)),
        ("cifar10", "training on CIFAR-10", HUB_NAME, 144 * MB,
         cifar10.is_dir() or (shelf is not None and any((shelf / "cifar10").glob("train-*.parquet")))),
    ]  # fmt: skip
    found = {name: dict(zip(("for", "from", "bytes", "here"), row, strict=True)) for name, *row in table}
    words = [f"{name} ({'here' if here else f'{size / MB:,.0f} MB'}; {use})" for name, use, _, size, here in table]
    return ", ".join(words), found


def _train(pace: dict[str, float]) -> Found:
    from sfumato.device import best_device
    from sfumato.recipe import load, shipped

    device = best_device()
    pace["evaluate"] = seconds = _seconds_a_picture(device)
    rate = 1 / (3.5 * seconds)  # backward takes two forwards, optimiser and averages the rest
    images = load("cifar10").train.images
    how = f"about {_two(rate)} images/s on {device} for a 3 M network at 32 px, {_time(images / rate)} for cifar10"
    large = "" if device == "cuda" else "; cifar10-large wants a GPU"
    return f"{how}{large}; recipes: {', '.join(shipped())}", {
        "device": device, "images_per_second": rate, "cifar10_seconds": images / rate, "recipes": list(shipped())
    }  # fmt: skip


def _sample(pace: dict[str, float]) -> Found:
    seconds = 20 * pace["evaluate"]
    words = f"about {_two(1000 * seconds)} ms a picture of 32 px in 20 evaluations of a 3 M network"
    return words, {"ms_per_picture": 1000 * seconds}


def _judge() -> Found:
    from sfumato.judge.features import open_features

    try:
        dim = open_features("mini").dim
    except Exception as error:
        return f"only with features that are downloaded ({error})", {"offline": False}
    return f"offline on {dim} features of our own (mini); FID, DINOv2 and CLIP as above", {"offline": True}


def _seconds_a_picture(device: str, batch: int = 16, budget: float = 0.5) -> float:
    """Of a forward pass of the small preset at 32 px: the best of as many as fit into `budget` seconds.

    On a CPU one thread's own time is taken and shared out, so that what else is running does not count.
    """
    import contextlib
    import time

    import torch

    from sfumato.device import best_precision
    from sfumato.nets.unet import build

    net = build("small").eval().to(device)
    x, c = torch.zeros(batch, 3, 32, 32, device=device), torch.zeros(batch, device=device)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(best_precision(device))
    threads, clock = torch.get_num_threads(), time.thread_time if device == "cpu" else time.perf_counter
    times: list[float] = []
    try:
        torch.set_num_threads(1)
        with torch.inference_mode(), torch.autocast(device, dtype) if dtype else contextlib.nullcontext():
            net(x, c).sum().item()
            end = time.perf_counter() + budget
            while not times or time.perf_counter() < end:
                start = clock()
                net(x, c).sum().item()
                times.append(clock() - start)
    finally:
        torch.set_num_threads(threads)
    return min(times) / batch / (threads**0.9 if device == "cpu" else 1)


def _two(value: float) -> str:
    """Two figures, for what is only roughly known."""
    return f"{float(f'{value:.2g}'):,.12g}"


def _time(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
