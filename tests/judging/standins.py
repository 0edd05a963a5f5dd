"""Small random networks with the interface of DINOv2 and CLIP, written where their weights are looked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SIDE = 28
PREPARE = {
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
    "crop_size": {"height": SIDE, "width": SIDE},
}


def prepare(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPARE))


def dinov2(features: Path) -> tuple[Path, Any]:
    """Without its preprocessor's configuration: the folder and the network."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    folder = features / "dinov2-base"
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": SIDE}
    net = Dinov2Model(Dinov2Config(**size, patch_size=14)).eval()
    net.save_pretrained(folder)
    return folder, net


def clip(features: Path) -> tuple[Path, Any]:
    """It knows the words "a" and "cat": the folder and the network."""
    from transformers import CLIPConfig, CLIPModel

    folder = features / "clip-vit-large-patch14"
    common = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**common, "vocab_size": 8, "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 1},
        vision_config={**common, "image_size": SIDE, "patch_size": 14},
        projection_dim=12,
    )
    net = CLIPModel(config).eval()
    net.save_pretrained(folder)
    prepare(folder)
    words = {"<s>": 0, "</s>": 1, "a</w>": 2, "cat</w>": 3, "a": 4, "c": 5, "t": 6, "<unk>": 7}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", **tokens}))
    return folder, net
