"""ComfyUI's and A1111's readings of a LoRA's file, written from their descriptions for these tests.

Both know only their own tables of keys. Of a network's layers the table is built here from plain numbers, without the
code that writes our files. Each gives the new weight of every layer, and the keys that it would leave out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

LAYERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
New = dict[str, Tensor]


def layers(unet: nn.Module, encoders: list[nn.Module], prefixes: list[str]) -> dict[str, tuple[str, Any]]:
    """Key of a file -> (own name, layer). prefixes: of the text encoders' keys."""
    table = {
        "lora_unet_" + "_".join(name.split(".")): (f"unet {name}", layer)
        for name, layer in unet.named_modules()
        if hasattr(layer, "weight")
    }
    for which, (encoder, prefix) in enumerate(zip(encoders, prefixes, strict=True)):
        inner: Any = encoder.text_model if hasattr(encoder, "text_model") else encoder
        for b in range(32):
            if b < len(inner.encoder.layers):
                for c in LAYERS:
                    key = f"{prefix}_text_model_encoder_layers_{b}_{c.replace('.', '_')}"
                    table[key] = (f"encoder {which} {b} {c}", inner.encoder.layers[b].get_submodule(c))
    return table


def by_comfyui(tensors: Mapping[str, Tensor], table: dict[str, tuple[str, Any]]) -> tuple[New, set[str]]:
    """weight += strength * (alpha / rows of down) * up @ down, alpha absent: 1; keys of no layer are logged and left
    out. (A `dora_scale` is read, by columns or by rows as the version has it; our files have none.)"""
    loaded: set[str] = set()
    new: New = {}
    for x, (name, layer) in table.items():
        up, down, alpha = (tensors.get(f"{x}.{end}") for end in ("lora_up.weight", "lora_down.weight", "alpha"))
        if up is None or down is None:
            continue
        loaded |= {f"{x}.lora_up.weight", f"{x}.lora_down.weight"} | ({f"{x}.alpha"} if alpha is not None else set())
        factor = alpha.item() / down.shape[0] if alpha is not None else 1.0
        weight = layer.weight.detach().clone()
        weight += factor * torch.mm(up.float().flatten(1), down.float().flatten(1)).reshape(weight.shape)
        new[name] = weight
    return new, set(tensors) - loaded


def by_a1111(tensors: Mapping[str, Tensor], table: dict[str, tuple[str, Any]]) -> tuple[New, set[str]]:
    """Keys are cut at their first dot; what is not in the table is reported; the scale is alpha / dim if both are
    there, else 1; up and down are layers without bias whose weights are multiplied."""
    unknown: set[str] = set()
    matched: dict[str, dict[str, Tensor]] = {}
    for key, weight in tensors.items():
        layer, part = key.split(".", 1)
        if layer not in table and layer.startswith("lora_te1_text_model"):
            layer = layer.replace("lora_te1_text_model", "lora_te_text_model")
        if layer not in table or part not in ("lora_up.weight", "lora_down.weight", "alpha"):
            unknown.add(key)
            continue
        matched.setdefault(layer, {})[part] = weight
    new: New = {}
    for key, w in matched.items():
        name, layer_ = table[key]
        own: Tensor = layer_.weight.detach()
        down, up = w["lora_down.weight"].float(), w["lora_up.weight"].float()
        updown = (up.reshape(up.size(0), -1) @ down.reshape(down.size(0), -1)).reshape(own.shape)
        scale = w["alpha"].item() / down.shape[0] if "alpha" in w else 1.0
        new[name] = own + updown * scale
    return new, unknown
