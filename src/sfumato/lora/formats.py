"""LoRA files: kohya's keys, PEFT's folder and diffusers' file read; all three written.

Kohya's rule, which A1111 and ComfyUI follow, is W + weight * (alpha / rank) * up @ down, with alpha a number beside
the matrices; a file without it means alpha = rank. PEFT says rank and alpha in adapter_config.json. diffusers' files
hold no alpha, so that their scale is 1, unless the header's `lora_adapter_metadata` says otherwise.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfumato.errors import UserError
from sfumato.files import Facts, Json, aside, open_tensors, save_tensors, write_json
from sfumato.lora.lora import Lora, Piece, modules
from sfumato.lora.named import WEIGHTS, check
from sfumato.models.family import LatentNet, Part
from sfumato.models.latent import LatentModel

CONFIG = "adapter_config.json"
PEFT = "base_model.model."
OLD = re.compile(r"\.processor\.(to_[qkv]|to_out)_lora\.")  # how diffusers named layers in 2023
ENDINGS = {
    ".lora_down.weight": "down", ".lora_up.weight": "up", ".alpha": "alpha", ".dora_scale": "magnitude",
    ".lora_A.weight": "down", ".lora_B.weight": "up", ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude", ".lora.down.weight": "down", ".lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down", ".lora_linear_layer.up.weight": "up",
}  # fmt: skip


def read(path: Path, model: LatentModel) -> Lora:
    """A LoRA for a model, from a folder of PEFT's or a safetensors file in kohya's or diffusers' keys.

    Raises UserError: missing, not safetensors, a malformed header, another family, not finite.
    """
    if path.is_dir():
        return _read_folder(path, model)
    tensors, header = _tensors(path)
    if (foreign := model.family.foreign(tensors, header)) is not None:
        raise UserError(f"{path} is {foreign}")
    parts = model.net.parts
    kohya = any(key.startswith(prefix) for part in parts for prefix in part.reads for key in tensors)
    try:
        lora = _of_kohya(tensors, model.net, path) if kohya else _of_diffusers(tensors, header, parts, path)
    except (ValueError, TypeError, AttributeError, IndexError, ZeroDivisionError, RuntimeError) as error:
        raise UserError(f"{path} is damaged: its numbers make no LoRA ({str(error).splitlines()[0][:80]})") from error
    found = Lora(lora.parts, header)
    found.verify(str(path))
    return found


def _read_folder(path: Path, model: LatentModel) -> Lora:
    known = model.net.parts
    parts: dict[Part, dict[str, Piece]] = {part: {} for part in known}
    facts: Json = {}
    every: dict[str, Tensor] = {}
    header: Facts = {}
    for part in known:
        weights, config = path / part.folder / WEIGHTS, path / part.folder / CONFIG
        if not weights.is_file():
            continue
        tensors, header = _tensors(weights)
        every |= {part.diffusers + key.removeprefix(PEFT): value for key, value in tensors.items()}
        try:
            facts[part.name] = settings = json.loads(config.read_text("utf-8"))
            groups = _grouped({key.removeprefix(PEFT): value for key, value in tensors.items()}, path)
            for name, group in groups.items():
                parts[part][part.plain(name)] = _piece(group, _peft_scale(settings, name), path, name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise UserError(f"{config} does not describe a LoRA") from error
    if not facts:
        raise UserError(f"{path} is not a LoRA folder: it has no {WEIGHTS}")
    if (foreign := model.family.foreign(every, header)) is not None:
        raise UserError(f"{path} is {foreign}")
    found = Lora(parts, facts)
    found.verify(str(path))
    return found


def _peft_scale(settings: Facts, name: str) -> float:
    """alpha / rank of a module, by PEFT's patterns for name endings if there are any."""

    def own(key: str, usual: Any) -> Any:
        patterns = settings.get(key) or {}
        return next((value for end, value in patterns.items() if re.fullmatch(rf"(.*\.)?({end})$", name)), usual)

    rank, alpha = int(own("rank_pattern", settings["r"])), float(own("alpha_pattern", settings["lora_alpha"]))
    return _scale(alpha, rank, bool(settings.get("use_rslora")))


def _scale(alpha: float, rank: int, rank_stabilised: bool) -> float:
    """The factor of a LoRA's product (Hu et al. 2021, section 4.1; Kalajdzievski 2023, eq. 3)."""
    return alpha / (math.sqrt(rank) if rank_stabilised else rank)


def _of_kohya(tensors: Mapping[str, Tensor], net: LatentNet, path: Path) -> Lora:
    known = {part: part.keys(modules(net, part)) for part in net.parts}
    parts: dict[Part, dict[str, Piece]] = {part: {} for part in net.parts}
    prefixes = {prefix: part for part in net.parts for prefix in part.reads}
    for name, group in _grouped(tensors, path).items():
        prefix = next((p for p in prefixes if name.startswith(p)), None)
        if prefix is None:
            raise UserError(f"{path}: {name} is neither of a U-Net nor of a text encoder in kohya's keys")
        part, rest = prefixes[prefix], name.removeprefix(prefix)
        if rest not in known[part]:
            raise UserError(f"{path} changes {name}, which this base has not: it is for another base")
        rank = len(group["down"]) if "down" in group else 1
        alpha = float(group["alpha"].item()) if "alpha" in group else 0.0
        parts[part][known[part][rest]] = _piece(group, (alpha or rank) / rank, path, name)
    return Lora(parts)


def _of_diffusers(tensors: Mapping[str, Tensor], header: Facts, known: Sequence[Part], path: Path) -> Lora:
    parts: dict[Part, dict[str, Piece]] = {part: {} for part in known}
    described = header.get("lora_adapter_metadata")
    settings: Json = json.loads(described) if described else {}
    for name, group in _grouped(tensors, path).items():
        part = next((each for each in known if name.startswith(each.diffusers)), None)
        if part is None:
            raise UserError(f"{path}: {name} is not a key of a LoRA that is known (kohya, diffusers, PEFT)")
        rank = len(group["down"]) if "down" in group else 1
        alpha = float(settings.get(f"{part.diffusers}lora_alpha", rank))
        scale = _scale(alpha, rank, bool(settings.get(f"{part.diffusers}use_rslora")))
        parts[part][part.plain(name.removeprefix(part.diffusers))] = _piece(group, scale, path, name)
    return Lora(parts)


def _grouped(tensors: Mapping[str, Tensor], path: Path) -> dict[str, dict[str, Tensor]]:
    """Tensors by module: down, up, alpha, magnitude."""
    groups: dict[str, dict[str, Tensor]] = {}
    for given, value in tensors.items():
        key = OLD.sub(lambda m: f".{m[1]}{'.0' if m[1] == 'to_out' else ''}.lora.", given)
        ending = next((e for e in ENDINGS if key.endswith(e)), None)
        if ending is None:
            raise UserError(f"{path}: {given} is no part of a LoRA (LoHa, LoKr and others are not read)")
        groups.setdefault(key.removesuffix(ending), {})[ENDINGS[ending]] = value
    return groups


def _piece(group: Mapping[str, Tensor], scale: float, path: Path, name: str) -> Piece:
    if "down" not in group or "up" not in group:
        raise UserError(f"{path} is damaged: {name} has no {'up' if 'down' in group else 'down'} matrix")
    down, up = group["down"], group["up"]
    if down.ndim not in (2, 4) or up.ndim not in (2, 4) or up.shape[1] != len(down) or not down.numel():
        raise UserError(f"{path} is damaged: {name} has matrices of {tuple(up.shape)} and {tuple(down.shape)}")
    return Piece(down, up, scale, group.get("magnitude"))


def _tensors(path: Path) -> tuple[dict[str, Tensor], Json]:
    """The tensors of a safetensors file and its header's metadata. Raises UserError."""
    check(path)
    with open_tensors(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def write_kohya(lora: Lora, path: Path, metadata: Mapping[str, str], dtype: torch.dtype = torch.float16) -> Path:
    """One file in kohya's keys, alpha as a number.

    metadata: texts of the header; never `lora_adapter_metadata`, which diffusers refuses beside alphas.
    """
    tensors: dict[str, Tensor] = {}
    for part, pieces in lora.parts.items():
        for name, piece in pieces.items():
            key = part.key(name)
            tensors[f"{key}.lora_down.weight"] = piece.down.to(dtype).contiguous()
            tensors[f"{key}.lora_up.weight"] = piece.up.to(dtype).contiguous()
            tensors[f"{key}.alpha"] = torch.tensor(piece.scale * piece.rank, dtype=torch.float32)
            if piece.magnitude is not None:
                tensors[f"{key}.dora_scale"] = piece.magnitude.to(dtype).reshape(-1, *[1] * (piece.down.ndim - 1))
    _save(path, tensors, metadata)
    return path


def write_diffusers(lora: Lora, path: Path, metadata: Mapping[str, str], dtype: torch.dtype = torch.float16) -> Path:
    """One file in diffusers' keys, whose scale is 1: the pieces' is in the matrices. metadata: as for `write_kohya`."""
    tensors: dict[str, Tensor] = {}
    for part, pieces in lora.parts.items():
        for name, piece in pieces.items():
            key = f"{part.diffusers}{part.outer}{name}"
            tensors[f"{key}.lora_A.weight"] = piece.down.to(dtype)
            tensors[f"{key}.lora_B.weight"] = (piece.scale * piece.up).to(dtype)
            if piece.magnitude is not None:
                tensors[f"{key}.lora_magnitude_vector"] = piece.magnitude.to(dtype)
    _save(path, tensors, metadata)
    return path


def write_peft(
    lora: Lora, folder: Path, base: str, rank_stabilised: bool = False, metadata: Mapping[str, str] | None = None
) -> Path:
    """PEFT's folder, with a folder in it for each text encoder that was changed.

    metadata: texts of the headers, which PEFT does not read.
    """
    for part, pieces in lora.parts.items():
        if not pieces:
            continue
        rank = next(iter(pieces.values())).rank
        scale = next(iter(pieces.values())).scale
        tensors: dict[str, Tensor] = {}
        for name, piece in pieces.items():
            tensors[f"{PEFT}{part.outer}{name}.lora_A.weight"] = piece.down.float().contiguous()
            tensors[f"{PEFT}{part.outer}{name}.lora_B.weight"] = piece.up.float().contiguous()
            if piece.magnitude is not None:
                tensors[f"{PEFT}{part.outer}{name}.lora_magnitude_vector"] = piece.magnitude.float().contiguous()
        settings = {
            "peft_type": "LORA", "base_model_name_or_path": base, "r": rank, "inference_mode": True, "bias": "none",
            "lora_alpha": scale * (math.sqrt(rank) if rank_stabilised else rank), "lora_dropout": 0.0,
            "use_rslora": rank_stabilised, "use_dora": any(p.magnitude is not None for p in pieces.values()),
            "target_modules": _targets(pieces), "task_type": None,
        }  # fmt: skip
        _save(folder / part.folder / WEIGHTS, tensors, {"format": "pt", **(metadata or {})})
        write_json(folder / part.folder / CONFIG, settings)
    return folder


def _targets(names: Iterable[str]) -> list[str]:
    """The endings of module names that PEFT looks for: to_q, to_out.0, net.0.proj."""
    found = set()
    for name in names:
        parts = name.split(".")
        number = next((k for k in range(len(parts) - 1, -1, -1) if not parts[k].isdigit()), 0)
        found.add(".".join(parts[number:]) if number < len(parts) - 1 else parts[-1])
    return sorted(found)


def _save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    with aside(path) as temporary:
        save_tensors(temporary, tensors, metadata)
