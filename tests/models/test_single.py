"""Checkpoints in one file: their original keys, written here by the rules, are read into the same networks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from sfumato import load
from sfumato.errors import UserError
from sfumato.models import singles
from sfumato.models.originals import to_open_clip
from sfumato.models.registry import UNET
from sfumato.models.sampling import Sampling
from sfumato.models.sd import single
from sfumato.pictures.tokenizer import learn_tokenizer

SMALL = single.Shapes(
    {"block_out_channels": (32, 64), "layers_per_block": 2, "cross_attention_dim": 32, "attention_head_dim": 4,
     "sample_size": 8, "norm_num_groups": 8,
     "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
     "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")},
    {"block_out_channels": (16, 16), "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 8,
     "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2},
    {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
)  # fmt: skip
RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip


def of_unet(name: str, blocks: int) -> str:
    """diffusers' name of a weight of the U-Net as the original code calls it."""
    top = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
           "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}  # fmt: skip
    for ours, theirs in top.items():
        if name.startswith(ours):
            return name.replace(ours, theirs)
    parts = name.split(".")
    if parts[0] == "mid_block":
        at = {"resnets": (0, 2), "attentions": (1, 1)}[parts[1]][int(parts[2])]
        place, rest = f"middle_block.{at}", parts[3:]
    else:
        down, block, kind, index = parts[0] == "down_blocks", int(parts[1]), parts[2], int(parts[3])
        step = blocks + 1
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * step}.0.op.{parts[-1]}"
        number = block * step + index + 1 if down else block * step + index
        if kind == "upsamplers":
            return f"output_blocks.{block * step + blocks}.{1 if block == 0 else 2}.conv.{parts[-1]}"
        place = f"{'input' if down else 'output'}_blocks.{number}.{0 if kind == 'resnets' else 1}"
        rest = parts[4:]
    rest = [RESNET.get(rest[0], rest[0]), *rest[1:]]
    return f"{place}.{'.'.join(rest)}"


def of_vae(name: str, levels: int) -> str:
    """The same for the autoencoder."""
    name = re.sub(r"mid_block\.attentions\.0\.", "mid.attn_1.", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    for ours, theirs in {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}.items():
        name = name.replace(f"attn_1.{ours}", f"attn_1.{theirs}")
    return name


def original() -> tuple[dict[str, Tensor], tuple[Any, Any, Any]]:
    """A small Stable Diffusion 1 in its original keys, and the networks it was made of."""
    torch.manual_seed(0)
    unet, vae = UNet2DConditionModel(**SMALL.unet), AutoencoderKL(**SMALL.vae)
    text = CLIPTextModel(CLIPTextConfig(**SMALL.text, vocab_size=700, max_position_embeddings=16))
    tensors = {UNET + of_unet(k, 2): t for k, t in unet.state_dict().items()}
    for key, tensor in vae.state_dict().items():
        flat = "attn_1" in of_vae(key, 2) and key.endswith("weight") and tensor.ndim == 2
        tensors["first_stage_model." + of_vae(key, 2)] = tensor[:, :, None, None] if flat else tensor
    for key, tensor in text.state_dict().items():
        tensors[f"{single.TEXT1}text_model.{key.removeprefix('text_model.')}"] = tensor
    tensors[f"{single.TEXT1}text_model.embeddings.position_ids"] = torch.arange(16)[None]
    return {key: tensor.contiguous() for key, tensor in tensors.items()}, (unet, vae, text)


def test_every_weight_finds_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, parts = original()
    path = tmp_path / "car-mix.safetensors"
    save_file(tensors, path, {"modelspec.prediction_type": "v"})
    (tmp_path / "tokenizer").mkdir()
    learned = learn_tokenizer(["a red car on a road"], 700, 16)
    learned.backend_tokenizer.model.save(str(tmp_path / "tokenizer"))
    monkeypatch.setitem(single.SHAPES, "sd1", SMALL)
    model: Any = load(path, device="cpu", precision="fp32")
    for mine, theirs in zip((model.net.unet, model.autoencoder, model.net.text), parts, strict=True):
        for key, tensor in theirs.state_dict().items():
            assert torch.equal(mine.state_dict()[key], tensor), key
    assert model.prediction == "v"
    assert model.shape == (3, 16, 16)
    assert model.sample(1, texts=["a red car"], sampling=Sampling(steps=2)).shape == (1, 3, 16, 16)


def shelved(folder: Path) -> Path:
    """A tokenizer beside a file in a folder."""
    (folder / "tokenizer").mkdir()
    learn_tokenizer(["a red car on a road"], 700, 16).backend_tokenizer.model.save(str(folder / "tokenizer"))
    return folder


@pytest.mark.parametrize("version", ["sd1", pytest.param("sd2", marks=pytest.mark.slow)])
def test_what_is_written_is_what_was_read(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, (_, _, text) = original()
    if version == "sd2":
        plain = {key: t for key, t in tensors.items() if not key.startswith(single.TEXT1)}
        tensors = plain | {f"{single.TEXT2}{key}": t for key, t in to_open_clip(text.state_dict()).items()}
    monkeypatch.setitem(single.SHAPES, version, SMALL)
    save_file(tensors, shelved(tmp_path) / "a.safetensors")
    model: Any = load(tmp_path / "a.safetensors", device="cpu", precision="fp32")
    model.family.write_file(model, tmp_path / "b.safetensors", half=False)
    again = load_file(tmp_path / "b.safetensors")
    assert set(tensors) - set(again) <= {f"{single.TEXT1}text_model.embeddings.position_ids"}
    assert all(torch.equal(again[key], tensors[key]) for key in set(tensors) & set(again))
    more = {key.split(".")[4] for key in set(again) - set(tensors)}
    assert more == ({"2"} if version == "sd2" else set())  # the layer that nobody reads
    other: Any = load(tmp_path / "b.safetensors", device="cpu", precision="fp32")
    assert other.prediction == model.prediction
    short = Sampling(steps=2)
    first, second = (each.sample(1, texts=["a red car"], sampling=short) for each in (other, model))
    assert torch.equal(first, second)
    monkeypatch.setitem(
        single.SHAPES, version, single.Shapes({**SMALL.unet, "layers_per_block": 1}, SMALL.vae, SMALL.text)
    )
    with pytest.raises(UserError, match="use --to diffusers"):
        model.family.write_file(model, tmp_path / "c.safetensors")


def test_sd2_is_told_by_its_text_encoder() -> None:
    tensors = {f"{UNET}out.2.bias": torch.zeros(4), f"{single.TEXT2}ln_final.bias": torch.zeros(4)}
    assert single.version(tensors) == "sd2"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("conditioner.embedders.0.model.ln_final.bias", "is the refiner of Stable Diffusion XL"),
        ("model.diffusion_model.double_blocks.0.img_attn.proj.bias", "is Flux"),
        ("lora_unet_mid.alpha", "is a LoRA: lay it over a base with --lora"),
        ("weight", "is no checkpoint of Stable Diffusion"),
    ],
)
def test_other_files_are_named_as_what_they_are(key: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({key: torch.zeros(2)}, path)
    with pytest.raises(UserError, match=said):
        load(path)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, _ = original()
    monkeypatch.setitem(single.SHAPES, "sd1", SMALL)
    path = tmp_path / "x.safetensors"
    save_file(tensors, path)
    monkeypatch.setattr(singles, "TOKENIZER", "not a name")
    with pytest.raises(UserError, match=r"holds no tokenizer .* copy its vocab.json"):
        load(path)
    del tensors[f"{UNET}out.2.bias"]
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"the U-Net is not whole"):
        load(path)
    path.write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(UserError, match="not a safetensors file"):
        load(path)
    (tmp_path / "model.ckpt").write_bytes(b"x")
    with pytest.raises(UserError, match="can run code when it is loaded"):
        load(tmp_path / "model.ckpt")
