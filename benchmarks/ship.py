"""Turn a finished run into a shipped model: its first EMA in fp16, its configuration, and a line on what made it.

    python benchmarks/ship.py runs/cifar10 cifar10

writes src/sfumato/pretrained/cifar10/{model.safetensors,config.json}; the model card, README.md, is written by hand.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

from sfumato.files import aside, save_tensors, write_json
from sfumato.nets.classifier import ClassifierConfig
from sfumato.train import checkpoint
from sfumato.train.ema import label
from sfumato.train.run import RunFolder
from sfumato.zoo import PRETRAINED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    options = parser.parse_args()
    recipe = RunFolder(options.run).recipe()
    found, _ = checkpoint.newest(options.run / "checkpoints")
    if found is None:
        parser.error(f"{options.run} has no whole checkpoint")
    weights = {key: value.to(torch.float16) for key, value in found.tensors(label(recipe.train.ema[0])).items()}
    folder = PRETRAINED / options.name
    with aside(folder / "model.safetensors") as temporary:
        save_tensors(temporary, weights)
    config = json.loads((found.path / "config.json").read_text(encoding="utf-8"))
    if recipe.task == "features":
        config = asdict(ClassifierConfig())
    write_json(folder / "config.json", config)
    held = RunFolder(options.run).events("held_out")[-1]
    size = (folder / "model.safetensors").stat().st_size
    print(f"{options.name}: {found.images:,} images, {size / 1e6:.2f} MB, {held}")


if __name__ == "__main__":
    main()
