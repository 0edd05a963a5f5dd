"""Checkpoints: folders named by images seen, each complete or absent.

A folder is written under a temporary name: every file is synced, last `manifest.json` with all SHA-256; then the
folder is renamed. Reading verifies every hash, that of the manifest included.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sfumato.errors import UserError
from sfumato.files import Json, disk_trouble, save_tensors, sha256, sync

MANIFEST = "manifest.json"
DIGITS = 9


class DamagedCheckpointError(Exception):
    """A damaged checkpoint; the message names the file and the reason."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk. facts: saved with it, such as images and held-out loss."""

    path: Path
    facts: Json

    @property
    def images(self) -> int:
        return int(self.facts["images"])

    def tensors(self, name: str, device: str = "cpu") -> dict[str, Tensor]:
        return load_file(self.path / f"{name}.safetensors", device)


def save(
    folder: Path,
    images: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    config: Json,
    facts: Json,
) -> Checkpoint:
    """Write `folder/000120000`: one safetensors file for each group of tensors, config.json and the manifest.

    Raises UserError if the disk is full or read-only; earlier checkpoints stay intact then.
    """
    path = folder / f"{images:0{DIGITS}d}"
    temporary = folder / f".{path.name}.part"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, group in tensors.items():
            save_tensors(temporary / f"{name}.safetensors", {k: t.detach() for k, t in group.items()})
        (temporary / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")
        files = {}
        for file in sorted(temporary.iterdir()):
            sync(file)
            files[file.name] = {"sha256": sha256(file), "bytes": file.stat().st_size}
        facts = {"images": images, **facts}
        manifest = temporary / MANIFEST
        content = {**facts, "files": files}
        manifest.write_text(json.dumps({**content, "digest": _digest(content)}, indent=1), encoding="utf-8")
        sync(manifest)
        if path.exists():  # a damaged checkpoint with the same number of images
            shutil.rmtree(path)
        temporary.replace(path)
        sync(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if (mended := disk_trouble(error, path)) is not None:
            raise mended from error
        raise
    return Checkpoint(path, facts)


def read(path: Path) -> Checkpoint:
    """A checkpoint, every file verified. Raises DamagedCheckpointError."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        intact = manifest.pop("digest") == _digest(manifest)
        files = manifest.pop("files")
        images = int(manifest["images"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(f"{path.name}/{MANIFEST} is missing or unreadable") from error
    if not intact:
        raise DamagedCheckpointError(f"{path.name}/{MANIFEST} is damaged (its digest does not match its content)")
    if path.name != f"{images:0{DIGITS}d}":
        raise DamagedCheckpointError(f"{path.name}/{MANIFEST} belongs to another checkpoint ({images} images)")
    for name, entry in files.items():
        file = path / name
        if not file.is_file():
            raise DamagedCheckpointError(f"{path.name}/{name} is missing")
        if sha256(file) != entry["sha256"]:
            raise DamagedCheckpointError(f"{path.name}/{name} is damaged (its SHA-256 differs from the manifest's)")
    return Checkpoint(path, manifest)


def _digest(content: Json) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def listing(folder: Path) -> list[Path]:
    """The checkpoint folders, oldest first, unverified."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name.isdigit() and len(p.name) == DIGITS)


def holds(folder: Path, images: int) -> bool:
    """Whether there is a complete checkpoint at `images`."""
    try:
        return (path := folder / f"{images:0{DIGITS}d}").is_dir() and read(path) is not None
    except DamagedCheckpointError:
        return False


def tidy(folder: Path) -> None:
    """Remove temporary folders of a killed save; only for the process that holds the run's lock."""
    for leftover in folder.glob(".*.part"):
        shutil.rmtree(leftover, ignore_errors=True)


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest complete checkpoint, and the damage of each newer one. Changes nothing: the run may be in progress."""
    damage: list[str] = []
    for path in reversed(listing(folder)):
        try:
            return read(path), damage
        except DamagedCheckpointError as error:
            damage.append(str(error))
    return None, damage


def prune(folder: Path, total: int, keep: int, every: int | None = None) -> None:
    """Keep the last two checkpoints, the best by held-out loss, `keep` spaced evenly over `total` images, and the
    first at or after each multiple of `every` images."""
    paths = listing(folder)
    facts = {}
    for path in paths:
        try:
            facts[path] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
    losses = {p: f["held_out"] for p, f in facts.items() if f.get("held_out") is not None}
    kept = set(paths[-2:])
    if losses:
        kept.add(min(losses, key=lambda p: losses[p]))
    marks = [total * k / (keep + 1) for k in range(1, keep + 1)]
    for mark in [*marks, *(range(every, total + 1, every) if every else ())]:
        kept.update([path for path in paths if int(path.name) >= mark][:1])
    for path in paths:
        if path not in kept and path in facts:
            hidden = path.with_name(f".{path.name}.part")
            path.replace(hidden)
            shutil.rmtree(hidden, ignore_errors=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer, net: nn.Module) -> dict[str, Tensor]:
    """The optimiser's state as flat tensors, `parameter/key`."""
    names: dict[Tensor, str] = {p: name for name, p in net.named_parameters()}
    return {
        f"{names[p]}/{key}": torch.as_tensor(value)
        for p, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, net: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Restore the output of `optimizer_tensors`, in the memory layout of the parameters, which fused optimisers need.

    Raises UserError if it belongs to another network.
    """
    parameters = dict(net.named_parameters())
    for flat, value in tensors.items():
        name, _, key = flat.rpartition("/")
        if name not in parameters:
            raise UserError(
                f"the checkpoint's optimiser has a parameter {name}, which this network lacks: choose another --out"
            )
        p = parameters[name]
        state = optimizer.state[p]
        if key not in state:
            state[key] = torch.empty_like(value, device=p.device) if key == "step" else torch.empty_like(p)
        state[key].copy_(value)


def label(width: float) -> str:
    """The name of an average in a checkpoint: 0.05 -> "ema-0.050"."""
    return f"ema-{width:.3f}"
