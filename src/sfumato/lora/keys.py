"""Keys of LoRA files: the tensors of each module, and the change that they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from sfumato.errors import UserError
from sfumato.files import Json, open_tensors
from sfumato.lora.changes import Change, Full, LoHa, LoKr, Piece
from sfumato.lora.named import check

OLD = re.compile(r"\.processor\.(to_[qkv]|to_out)_lora\.")  # how diffusers named layers in 2023
ENDINGS = {
    ".lora_down.weight": "down", ".lora_up.weight": "up", ".alpha": "alpha", ".dora_scale": "magnitude",
    ".lora_mid.weight": "mid", ".lora_A.weight": "down", ".lora_B.weight": "up",
    ".lora_A.default.weight": "down", ".lora_B.default.weight": "up",
    ".lora_magnitude_vector": "magnitude", ".lora_magnitude_vector.weight": "magnitude",
    ".lora.down.weight": "down", ".lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down", ".lora_linear_layer.up.weight": "up",
    ".hada_w1_a": "loha a1", ".hada_w1_b": "loha b1", ".hada_w2_a": "loha a2", ".hada_w2_b": "loha b2",
    ".hada_t1": "loha t1", ".hada_t2": "loha t2",
    ".lokr_w1": "lokr first", ".lokr_w2": "lokr second", ".lokr_w1_a": "lokr a1", ".lokr_w1_b": "lokr b1",
    ".lokr_w2_a": "lokr a2", ".lokr_w2_b": "lokr b2", ".lokr_t2": "lokr t2",
    ".diff": "full", ".w_norm": "full", ".diff_b": "bias", ".b_norm": "bias",
}  # fmt: skip
EMBEDDING = "bundle_emb."  # a textual inversion that was put into a LoRA's file


def tensors_of(path: Path) -> tuple[dict[str, Tensor], Json]:
    """The tensors of a safetensors file and its header's metadata. Raises UserError."""
    check(path)
    with open_tensors(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def embeddings(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the textual inversions in a file, which are no changes of weights: `bundle_emb.NAME`."""
    return sorted({".".join(key.split(".")[:2]) for key in tensors if key.startswith(EMBEDDING)})


def grouped(tensors: Mapping[str, Tensor], path: Path) -> dict[str, dict[str, Tensor]]:
    """Tensors by module and what they are: the values of ENDINGS. Raises UserError on any other key."""
    groups: dict[str, dict[str, Tensor]] = {}
    for given, value in tensors.items():
        key = OLD.sub(lambda m: f".{m[1]}{'.0' if m[1] == 'to_out' else ''}.lora.", given)
        ending = next((e for e in ENDINGS if key.endswith(e)), None)
        if ending is None:
            raise UserError(f"{path}: {given} is no part of a LoRA, LoHa or LoKr (OFT, IA3 and GLoRA are not read)")
        groups.setdefault(key.removesuffix(ending), {})[ENDINGS[ending]] = value
    return groups


def built(group: Mapping[str, Tensor], scale: Callable[[int], float], path: Path, name: str) -> Change | None:
    """The change by one module's tensors; None if only its bias is changed.

    scale: the factor for a rank. Full changes have none, nor has a LoKr of two whole matrices, as in LyCORIS, ComfyUI
    and A1111. Raises UserError if a tensor is absent, or RuntimeError, ValueError.
    """
    kinds = [kind for kind, own in _KINDS.items() if any(_of(role, kind) for role in group)]
    if len(kinds) > 1:
        raise UserError(f"{path} is damaged: {name} has {' and '.join(kinds)} at once")
    if not kinds:
        if "bias" not in group or "magnitude" in group:
            raise UserError(f"{path} is damaged: {name} has no down matrix")
        return None
    change = _KINDS[kinds[0]](group, scale, path, name)
    change.shape  # noqa: B018 - raises if the factors do not fit
    return change


def _of(role: str, kind: str) -> bool:
    return role in ("down", "up", "mid") if kind == "LoRA" else role.split(" ")[0] == kind.lower()


def _lora(group: Mapping[str, Tensor], scale: Callable[[int], float], path: Path, name: str) -> Change:
    if "down" not in group or "up" not in group:
        raise UserError(f"{path} is damaged: {name} has no {'up' if 'down' in group else 'down'} matrix")
    down, up, mid = group["down"], group["up"], group.get("mid")
    inner = len(down) if mid is None else mid.shape[0]
    if down.ndim not in (2, 4) or up.ndim not in (2, 4) or up.shape[1] != inner or not down.numel():
        raise UserError(f"{path} is damaged: {name} has matrices of {tuple(up.shape)} and {tuple(down.shape)}")
    return Piece(down, up, mid=mid, scale=scale(len(down)), magnitude=group.get("magnitude"))


def _loha(group: Mapping[str, Tensor], scale: Callable[[int], float], path: Path, name: str) -> Change:
    own = _own(group, "loha", ("a1", "b1", "a2", "b2"), path, name)
    if ("t1" in own) != ("t2" in own):
        raise UserError(f"{path} is damaged: {name} has one of hada_t1 and hada_t2")
    return LoHa(**own, scale=scale(len(own["b1"])), magnitude=group.get("magnitude"))


def _lokr(group: Mapping[str, Tensor], scale: Callable[[int], float], path: Path, name: str) -> Change:
    own = _own(group, "lokr", (), path, name)
    for whole, a, b in (("first", "a1", "b1"), ("second", "a2", "b2")):
        if (whole in own) == (a in own and b in own):
            raise UserError(f"{path} is damaged: {name} needs lokr_w{a[1]}, or lokr_w{a[1]}_a and lokr_w{a[1]}_b")
    factor = own.get("b2", own.get("b1"))
    by = 1.0 if factor is None else scale(len(factor))
    return LoKr(**own, scale=by, magnitude=group.get("magnitude"))


def _full(group: Mapping[str, Tensor], scale: Callable[[int], float], path: Path, name: str) -> Change:
    return Full(group["full"], magnitude=group.get("magnitude"))


def _own(group: Mapping[str, Tensor], kind: str, needs: tuple[str, ...], path: Path, name: str) -> dict[str, Tensor]:
    """The tensors of a kind by their names. Raises UserError if one of `needs` is absent."""
    own = {role.split(" ")[1]: value for role, value in group.items() if role.startswith(f"{kind} ")}
    for each in needs:
        if each not in own:
            raise UserError(f"{path} is damaged: {name} has no hada_w{each[1]}_{each[0]}")
    return own


_KINDS: dict[str, Callable[[Mapping[str, Tensor], Callable[[int], float], Path, str], Change]] = {
    "LoRA": _lora, "LoHa": _loha, "LoKr": _lokr, "full": _full,
}  # fmt: skip
