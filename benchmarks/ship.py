"""Turn a finished run into a shipped model: its first EMA in fp16, its configuration, and a line on its training.

    python benchmarks/ship.py runs/cifar10 cifar10
    python benchmarks/ship.py runs/mini mini --decoder runs/mini-decoder

writes src/sfumato/pretrained/cifar10/{model.safetensors,config.json}, or a pipeline folder for a text-to-image model;
the model card, README.md, is written by hand. --decoder: a run of the recipe mini-decoder, for a model that was trained
on the same latents.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

from sfumato.files import aside, save_tensors, write_json
from sfumato.models.latent import LatentModel
from sfumato.models.names import PRETRAINED
from sfumato.models.sd.pipeline import write
from sfumato.nets.classifier import ClassifierConfig
from sfumato.recipe import recipe as recipes
from sfumato.runs import checkpoint
from sfumato.runs.checkpoint import label
from sfumato.runs.folder import RunFolder
from sfumato.training.latents import autoencoder_named
from sfumato.zoo import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--decoder", type=Path, help="a run of mini-decoder")
    options = parser.parse_args()
    recipe = RunFolder(options.run).recipe()
    found, _ = checkpoint.newest(options.run / "checkpoints")
    if found is None:
        parser.error(f"{options.run} has no whole checkpoint")
    if recipe.task == "text":
        ship_pipeline(options.run, options.name, options.decoder)
        return
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


def ship_pipeline(run: Path, name: str, decoder: Path | None) -> None:
    model = load(run, precision="fp32")
    assert isinstance(model, LatentModel)
    if decoder is not None:
        better = autoencoder_named(str(decoder), "--decoder").state_dict()
        own = model.autoencoder.state_dict()
        assert all(torch.equal(better[key], own[key]) for key in own if key.startswith(("encoder.", "quant_conv.")))
        model.autoencoder.load_state_dict(better)
    model.defaults = recipes.load(name).sample  # as it is now, whatever the run was begun with
    folder = PRETRAINED / name
    card = (folder / "README.md").read_bytes() if (folder / "README.md").is_file() else None
    write(model, folder)
    if card is not None:
        (folder / "README.md").write_bytes(card)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{name}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
