"""LoRA files: kohya's and LyCORIS's keys, PEFT's folder and diffusers' file read; kohya's and the last two written.

Kohya's rule, which A1111 and ComfyUI follow, is W + weight * (alpha / rank) * up @ down, with alpha a number beside
the matrices; a file without it means alpha = rank. PEFT says rank and alpha in adapter_config.json. diffusers' files
hold no alpha, so that their scale is 1, unless the header's `lora_adapter_metadata` or an alpha beside them says other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from sfumato.errors import UserError
from sfumato.files import Facts, Json, aside, save_tensors, write_json
from sfumato.lora.changes import Change, Piece
from sfumato.lora.keys import EMBEDDING, built, embeddings, grouped, tensors_of
from sfumato.lora.lora import Lora, changeable
from sfumato.lora.named import WEIGHTS
from sfumato.lora.scales import by_settings
from sfumato.models.family import LatentNet, Part
from sfumato.models.latent import LatentModel

CONFIG = "adapter_config.json"
PEFT = "base_model.model."


def read(path: Path, model: LatentModel) -> Lora:
    """A LoRA for a model, from a folder of PEFT's or a safetensors file in kohya's, LyCORIS's or diffusers' keys.

    Raises UserError: missing, not safetensors, a malformed header, another family, not finite.
    """
    if path.is_dir():
        return _read_folder(path, model)
    every, header = tensors_of(path)
    tensors = {key: value for key, value in every.items() if not key.startswith(EMBEDDING)}
    if (foreign := model.family.foreign(tensors, header)) is not None:
        raise UserError(f"{path} is {foreign}")
    parts = model.net.parts
    kohya = any(key.startswith(prefix) for part in parts for prefix in part.reads for key in tensors)
    try:
        lora = _of_kohya(tensors, model.net, path) if kohya else _of_diffusers(tensors, header, model.net, path)
    except (ValueError, TypeError, AttributeError, IndexError, ZeroDivisionError, RuntimeError) as error:
        raise UserError(f"{path} is damaged: its numbers make no LoRA ({str(error).splitlines()[0][:80]})") from error
    found = replace(lora, facts=header, left_out=embeddings(every))
    found.verify(str(path))
    return found


def _empty(net: LatentNet) -> Lora:
    return Lora({part: {} for part in net.parts}, {}, {part: {} for part in net.parts})


def _put(lora: Lora, part: Part, name: str, change: Change | None, group: Mapping[str, Tensor]) -> None:
    """Add one module's changes, `built` from a group."""
    if change is not None:
        lora.parts[part][name] = change
    if "bias" in group:
        lora.biases[part][name] = group["bias"].flatten()


def _read_folder(path: Path, model: LatentModel) -> Lora:
    lora = _empty(model.net)
    facts: Json = {}
    every: dict[str, Tensor] = {}
    header: Facts = {}
    for part in model.net.parts:
        folder = _place(path, part)
        if folder is None:
            continue
        tensors, header = tensors_of(folder / WEIGHTS)
        tensors = {key.removeprefix(PEFT): value for key, value in tensors.items()}
        every |= {part.diffusers + key: value for key, value in tensors.items()}
        facts[part.name] = _put_folder(lora, part, tensors, folder / CONFIG)
    if not facts:
        raise UserError(f"{path} is not a LoRA folder: it has no {WEIGHTS}")
    if (foreign := model.family.foreign(every, header)) is not None:
        raise UserError(f"{path} is {foreign}")
    found = replace(lora, facts=facts)
    found.verify(str(path))
    return found


def _put_folder(lora: Lora, part: Part, tensors: Mapping[str, Tensor], config: Path) -> Facts:
    """Add the changes of one part by PEFT's files, and return their settings. Raises UserError."""
    try:
        settings: Json = json.loads(config.read_text("utf-8"))
        if settings["r"] is None or settings["lora_alpha"] is None:  # PEFT always writes both
            raise ValueError("no rank or alpha")
        for name, group in grouped(tensors, config.parent).items():

            def scale(rank: int, at: str = name) -> float:
                return by_settings(settings, at, rank, str(config))

            _put(lora, part, part.plain(name), built(group, scale, config.parent, name), group)
        return settings
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise UserError(f"{config} does not describe a LoRA") from error


def _place(path: Path, part: Part) -> Path | None:
    """The folder of a part's files: where we write it, or diffusers' name of the part. Raises UserError if both are."""
    places = {path / part.folder, path / part.diffusers.rstrip(".")}
    found = sorted(each for each in places if (each / WEIGHTS).is_file())
    if len(found) > 1:
        raise UserError(f"{path} has two LoRAs for one network, in {found[0]} and in {found[1]}: give one of them")
    return found[0] if found else None


def _of_kohya(tensors: Mapping[str, Tensor], net: LatentNet, path: Path) -> Lora:
    known = {part: part.keys(changeable(net, part)) for part in net.parts}
    lora = _empty(net)
    prefixes = {prefix: part for part in net.parts for prefix in part.reads}
    for name, group in grouped(tensors, path).items():
        prefix = next((p for p in prefixes if name.startswith(p)), None)
        if prefix is None:
            raise UserError(f"{path}: {name} is neither of a U-Net nor of a text encoder in kohya's keys")
        part, rest = prefixes[prefix], name.removeprefix(prefix)
        if rest not in known[part]:
            raise UserError(f"{path} changes {name}, which this base has not: it is for another base")
        _put(lora, part, known[part][rest], built(group, partial(_by_alpha, group), path, name), group)
    return lora


def _by_alpha(group: Mapping[str, Tensor], rank: int) -> float:
    """alpha / rank, by a tensor beside the matrices; 1 if there is none, or if it is 0, as kohya writes for none."""
    alpha = float(group["alpha"].item()) if "alpha" in group else 0.0
    return (alpha or rank) / rank


def _of_diffusers(tensors: Mapping[str, Tensor], header: Facts, net: LatentNet, path: Path) -> Lora:
    lora = _empty(net)
    described = header.get("lora_adapter_metadata")
    settings: Json = json.loads(described) if described else {}
    for name, group in grouped(tensors, path).items():
        part = next((each for each in net.parts if name.startswith(each.diffusers)), None)
        if part is None:
            raise UserError(f"{path}: {name} is not a key of a LoRA that is known (kohya, diffusers, PEFT)")
        module = name.removeprefix(part.diffusers)

        def scale(rank: int, own: Part = part, at: str = module, group: Mapping[str, Tensor] = group) -> float:
            if "alpha" in group:
                return _by_alpha(group, rank)
            return by_settings(settings, at, rank, str(path), own.diffusers)

        _put(lora, part, part.plain(module), built(group, scale, path, name), group)
    return lora


def _pieces(lora: Lora, path: Path) -> Iterator[tuple[Part, str, Piece]]:
    """The pieces of a LoRA to be written. Raises UserError if it is another kind of change."""
    for part, changes in lora.parts.items():
        for name, change in changes.items():
            if not isinstance(change, Piece) or change.mid is not None or lora.biases.get(part):
                raise UserError(
                    f"{path} can hold only a LoRA: {part.name}.{name} is another change; merge it into a base"
                )
            yield part, name, change


def write_kohya(lora: Lora, path: Path, metadata: Mapping[str, str], dtype: torch.dtype = torch.float16) -> Path:
    """One file in kohya's keys, alpha as a number.

    metadata: texts of the header; never `lora_adapter_metadata`, which diffusers refuses beside alphas. Raises
    UserError if a change is no LoRA, or a DoRA, whose magnitudes A1111 and ComfyUI read in other ways: `plain.plain`
    makes a LoRA of it.
    """
    tensors: dict[str, Tensor] = {}
    for part, name, piece in _pieces(lora, path):
        if piece.magnitude is not None:
            raise UserError(
                f"{path} cannot hold DoRA: programs read its magnitudes differently; use lora.plain.plain first"
            )
        key = part.key(name)
        tensors[f"{key}.lora_down.weight"] = piece.down.to(dtype).contiguous()
        tensors[f"{key}.lora_up.weight"] = piece.up.to(dtype).contiguous()
        tensors[f"{key}.alpha"] = torch.tensor(piece.scale * piece.rank, dtype=torch.float32)
    _save(path, tensors, metadata)
    return path


def write_diffusers(lora: Lora, path: Path, metadata: Mapping[str, str], dtype: torch.dtype = torch.float16) -> Path:
    """One file in diffusers' keys, whose scale is 1: the pieces' is in the matrices. metadata: as for `write_kohya`."""
    tensors: dict[str, Tensor] = {}
    for part, name, piece in _pieces(lora, path):
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

    def alpha(piece: Piece) -> float:
        return piece.scale * (math.sqrt(piece.rank) if rank_stabilised else piece.rank)

    every = list(_pieces(lora, folder))
    for part in lora.parts:
        pieces = {name: piece for own, name, piece in every if own is part}
        if not pieces:
            continue
        first = next(iter(pieces.values()))
        rank = first.rank
        tensors: dict[str, Tensor] = {}
        for name, piece in pieces.items():
            tensors[f"{PEFT}{part.outer}{name}.lora_A.weight"] = piece.down.float().contiguous()
            tensors[f"{PEFT}{part.outer}{name}.lora_B.weight"] = piece.up.float().contiguous()
            if piece.magnitude is not None:
                tensors[f"{PEFT}{part.outer}{name}.lora_magnitude_vector"] = piece.magnitude.float().contiguous()
        settings = {
            "peft_type": "LORA", "base_model_name_or_path": base, "r": rank, "inference_mode": True, "bias": "none",
            "lora_alpha": alpha(first), "lora_dropout": 0.0,
            "use_rslora": rank_stabilised, "use_dora": any(p.magnitude is not None for p in pieces.values()),
            "target_modules": _targets(pieces), "task_type": None,
            "rank_pattern": {part.outer + name: p.rank for name, p in pieces.items() if p.rank != rank},
            "alpha_pattern": {part.outer + name: alpha(p) for name, p in pieces.items() if alpha(p) != alpha(first)},
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
