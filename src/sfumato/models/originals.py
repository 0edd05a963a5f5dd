"""The names of weights in the original code of Stable Diffusion, which single files and many LoRAs use.

U-Net: input_blocks, middle_block and output_blocks are numbered across all levels; each has a residual block first,
then attention or a change of resolution. Text encoder: OpenCLIP's, with one matrix for queries, keys and values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sfumato.models.registry import UNET

VAE = "first_stage_model."
UNET_TOP = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
RESIDUAL = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
VAE_ATTENTION = {
    "group_norm": "norm", "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out",
    "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
}  # fmt: skip
OPEN_TOP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias",
}  # fmt: skip
OPEN_LAYER = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
}  # fmt: skip
QKV = ("q", "k", "v")


def of_unet(names: Iterable[str]) -> dict[str, str]:
    """diffusers' names of the modules or weights of a UNet2DConditionModel -> the original names."""
    every = list(names)
    blocks = 1 + max(
        (int(m[1]) for name in every if (m := re.match(r"down_blocks\.0\.resnets\.(\d+)", name))), default=0
    )
    attentive = {m[1] for name in every if (m := re.match(r"up_blocks\.(\d+)\.attentions", name))}
    return {name: found for name in every if (found := _of_unet(name, blocks, attentive)) is not None}


def _of_unet(name: str, blocks: int, attentive: set[str]) -> str | None:
    """blocks: residual blocks of each down level; attentive: numbers of the up levels with attention."""
    for ours, theirs in UNET_TOP.items():
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    if mid := re.match(r"mid_block\.(resnets\.\d|attentions\.0)(.*)", name):
        return f"middle_block.{MIDDLE[mid[1]]}{_residual(mid[2])}" if mid[1] in MIDDLE else None
    match = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)(.*)", name)
    if match is None:
        return None
    way, level, kind, number, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    step = blocks + 1
    if kind == "downsamplers":
        return f"input_blocks.{(level + 1) * step}.0.op{rest.removeprefix('.conv')}"
    if kind == "upsamplers":
        return f"output_blocks.{level * step + blocks}.{2 if match[2] in attentive else 1}{rest}"
    at = level * step + number + (1 if way == "down" else 0)
    place = "input" if way == "down" else "output"
    return f"{place}_blocks.{at}.{1 if kind == 'attentions' else 0}{_residual(rest)}"


def _residual(rest: str) -> str:
    """The part of a name after the block's number: layers of a residual block have other names, all others the same."""
    head, dot, tail = rest.removeprefix(".").partition(".")
    return f".{RESIDUAL[head]}{dot}{tail}" if head in RESIDUAL else rest


def of_vae(names: Iterable[str]) -> dict[str, str]:
    """diffusers' names of the weights of an AutoencoderKL -> the original names."""
    every = list(names)
    top = max((int(m[1]) for name in every if (m := re.match(r"decoder\.up_blocks\.(\d+)", name))), default=0)
    return {name: _of_vae(name, top) for name in every}


def _of_vae(name: str, top: int) -> str:
    name = re.sub(r"down_blocks\.(\d+)", r"down.\1", name)
    name = re.sub(r"up_blocks\.(\d+)", lambda m: f"up.{top - int(m[1])}", name)
    name = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"resnets\.(\d+)", r"block.\1", name)
    name = re.sub(r"(down|up)samplers\.0", r"\1sample", name)
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    if attention := re.match(r"(.*)mid_block\.attentions\.0\.(.*)\.(weight|bias)$", name):
        return f"{attention[1]}mid.attn_1.{VAE_ATTENTION[attention[2]]}.{attention[3]}"
    return name


def from_vae(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Original weights of an autoencoder with the names of diffusers' AutoencoderKL; missing ones are left out."""
    found = {ours: tensors[theirs] for ours, theirs in of_vae(names).items() if theirs in tensors}
    flat = {name: value[..., 0, 0] for name, value in found.items() if ".attentions." in name and value.ndim == 4}
    return found | flat


def to_vae(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an AutoencoderKL with the original names; the layers of attention become 1 x 1 convolutions."""
    names = of_vae(state)
    return {
        names[name]: value[..., None, None] if ".attentions." in name and value.ndim == 2 else value
        for name, value in state.items()
    }


def from_open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's weights with the names of transformers' CLIPTextModel (without `text_model.`) and its projection."""
    found: dict[str, Tensor] = {}
    top = {theirs: ours for ours, theirs in OPEN_TOP.items()}
    layer = {theirs: ours for ours, theirs in OPEN_LAYER.items()}
    for key, value in tensors.items():
        if key in top:
            found[top[key]] = value
        elif key == "text_projection":
            found["text_projection.weight"] = value.T
        elif key == "text_projection.weight":
            found[key] = value
        elif inner := re.match(r"transformer\.resblocks\.(\d+)\.(.*?)[._](weight|bias)$", key):
            place, rest, kind = f"encoder.layers.{inner[1]}", inner[2], inner[3]
            if rest == "attn.in_proj":
                for which, part in zip(QKV, value.chunk(3), strict=True):
                    found[f"{place}.self_attn.{which}_proj.{kind}"] = part
            elif rest in layer:
                found[f"{place}.{layer[rest]}.{kind}"] = value
    return found


def to_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a CLIPTextModel (with or without `text_model.` and projection) with OpenCLIP's names."""
    plain = {name.removeprefix("text_model."): value for name, value in state.items()}
    found: dict[str, Tensor] = {}
    for name, value in plain.items():
        layer = re.match(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)$", name)
        if name in OPEN_TOP:
            found[OPEN_TOP[name]] = value
        elif name == "text_projection.weight":
            found["text_projection"] = value.T
        elif layer and layer[2] == "self_attn.q_proj":
            parts = [plain[name.replace("q_proj", f"{which}_proj")] for which in QKV]
            found[f"transformer.resblocks.{layer[1]}.attn.in_proj_{layer[3]}"] = torch.cat(parts)
        elif layer and layer[2] in OPEN_LAYER:
            found[f"transformer.resblocks.{layer[1]}.{OPEN_LAYER[layer[2]]}.{layer[3]}"] = value
    return found


def to_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a CLIPTextModel, with or without `text_model.`, with it."""
    return {f"text_model.{name.removeprefix('text_model.')}": value for name, value in state.items()}


def to_unet_and_vae(unet: Mapping[str, Tensor], vae: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of U-Net and autoencoder under the keys of single files."""
    names = of_unet(unet)
    return {
        **{UNET + names[name]: value for name, value in unet.items()},
        **outside(to_vae(vae), VAE),
    }


def inside(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose keys start with a prefix, with the prefix removed."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def outside(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors with a prefix added to their keys."""
    return {prefix + key: value for key, value in tensors.items()}
