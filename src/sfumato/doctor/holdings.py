"""Which data sets, shipped models and extras are installed, and what must be downloaded."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from sfumato.doctor.machine import Found

EXTRAS = {"track": ("tensorboard", "wandb"), "heic": ("pillow_heif",), "raw": ("rawpy",)}
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".parquet"}
MOST_FILES = 5000  # at most so many files of a data set's folder are counted
MB = 1e6


def datasets() -> Found:
    from sfumato.pictures.source import data_folder

    shelf = data_folder()
    if shelf is None:
        return "SFUMATO_DATA is not set; shapes and emoji need no data", {"folder": None, "found": {}}
    if not shelf.is_dir():
        return f"SFUMATO_DATA is {shelf}, which is not a folder", {"folder": str(shelf), "found": {}}
    found = {folder.name: count for folder in sorted(shelf.iterdir()) if folder.is_dir() and (count := _count(folder))}
    names = [f"{name} ({_files(count)})" for name, count in found.items()]
    return f"{', '.join(names) or 'none'} in {shelf}", {"folder": str(shelf), "found": found}


def _count(folder: Path) -> int:
    """The number of picture files in a folder and its subfolders, up to about MOST_FILES."""
    count = visited = 0
    for _, _, names in os.walk(folder):
        count += sum(Path(name).suffix.lower() in PICTURES for name in names)
        visited += len(names)
        if visited >= MOST_FILES:
            break
    return count


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files" if count < MOST_FILES else f"{MOST_FILES:,} files or more"


def models() -> Found:
    from sfumato.models import names

    loaded = names.models()
    folders = sorted(
        {p.parent for name in ("config.json", "model_index.json") for p in names.PRETRAINED.glob(f"*/{name}")}
    )
    found = {
        folder.name: {
            "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
            "card": (folder / "README.md").is_file(),
            "loads": folder.name in loaded,
        }
        for folder in folders
    }
    return ", ".join(f"{name} ({v['bytes'] / MB:.1f} MB)" for name, v in found.items()) or "none are shipped", found


def extras() -> Found:
    found = {
        extra: {module: importlib.util.find_spec(module) is not None for module in modules}
        for extra, modules in EXTRAS.items()
    }
    words = [
        ", ".join(f"{module} {'is installed' if there else 'is missing'}" for module, there in modules.items())
        + ("" if all(modules.values()) else f": pip install 'sfumato[{extra}]'")
        for extra, modules in found.items()
    ]
    return "; ".join(words), found


def downloads() -> Found:
    """What is downloaded when it is first needed, and whether it is on this machine already."""
    from huggingface_hub.constants import HF_HUB_CACHE

    from sfumato.judging.features import CLIP, DINOV2
    from sfumato.judging.weights import INCEPTION_URL, at_hand
    from sfumato.judging.weights import found as at_home
    from sfumato.pictures.cifar10 import HUB_NAME
    from sfumato.pictures.source import data_folder

    shelf = data_folder()
    cifar10 = Path(HF_HUB_CACHE) / f"datasets--{HUB_NAME.replace('/', '--')}"
    table: list[tuple[str, str, str, float, bool]] = [
        ("inception", "FID", INCEPTION_URL, 96 * MB, at_home(INCEPTION_URL.rsplit("/", 1)[-1]) is not None),
        ("dinov2", "FD on DINOv2, likeness of a LoRA", DINOV2, 346 * MB, at_hand(DINOV2)),
        ("clip", "FD on CLIP, how well prompts are followed", CLIP, 1710 * MB, at_hand(CLIP)),
        ("cifar10", "training on CIFAR-10", HUB_NAME, 144 * MB,
         cifar10.is_dir() or (shelf is not None and any((shelf / "cifar10").glob("train-*.parquet")))),
    ]  # fmt: skip
    found = {name: dict(zip(("for", "from", "bytes", "here"), row, strict=True)) for name, *row in table}
    words = [
        f"{name} ({'on this machine' if here else f'{size / MB:,.0f} MB'}; {use})" for name, use, _, size, here in table
    ]
    return ", ".join(words), found
