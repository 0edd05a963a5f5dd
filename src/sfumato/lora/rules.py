"""How A1111, ComfyUI and sd-scripts read a LoRA's file: by their rules, not by the code that writes ours.

The key of a layer of the U-Net is `lora_unet_` and diffusers' name of it, its dots replaced by underscores. That of a
text encoder's layer is `lora_te_text_model_encoder_layers_` and so on; where there are two encoders, `lora_te1_` and
`lora_te2_`. A weight becomes W + alpha / rank * up @ down, rank being the number of rows of `lora_down`; without alpha
the factor is 1. All three agree on this; DoRA's magnitudes they read differently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from sfumato.errors import UserError
from sfumato.models.family import LatentNet

ENCODER = re.compile(r"(?:^|\.)encoder\.layers\.(\d+)\.(self_attn\.(?:[qkv]|out)_proj|mlp\.fc[12])$")


def changed(net: LatentNet, tensors: Mapping[str, Tensor]) -> list[tuple[nn.Module, Tensor]]:
    """Each layer that a file changes, and its new weight, float32. Raises UserError on a key that is in none of these
    programs' tables, and so would be left out by them."""
    left = set(tensors)
    found: list[tuple[nn.Module, Tensor]] = []
    for key, layer in _table(net).items():
        names = {each: f"{key}.{each}" for each in ("lora_up.weight", "lora_down.weight", "alpha")}
        if names["lora_up.weight"] not in tensors:
            continue
        left -= set(names.values())
        up, down = (tensors[names[f"lora_{each}.weight"]].float() for each in ("up", "down"))
        factor = float(tensors[names["alpha"]]) / len(down) if names["alpha"] in tensors else 1.0
        weight = layer.get_parameter("weight").detach()
        change = factor * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
        found.append((layer, weight.float() + change.to(weight.device)))
    if left:
        raise UserError(f"other programs do not know the key {min(left)} of the LoRA's file: it would be left out")
    return found


def _table(net: LatentNet) -> dict[str, nn.Module]:
    """Layers by their keys."""
    table: dict[str, nn.Module] = {}
    for denoiser in net.denoisers():
        table |= {f"lora_unet_{name.replace('.', '_')}": each for name, each in denoiser.named_modules()}
    encoders = net.encoders()
    for number, encoder in enumerate(encoders, 1):
        prefix = "lora_te" if len(encoders) == 1 else f"lora_te{number}"
        for name, each in encoder.named_modules():
            if match := ENCODER.search(name):
                table[f"{prefix}_text_model_encoder_layers_{match[1]}_{match[2].replace('.', '_')}"] = each
    return table
