"""A folder of small pictures with labels and captions, and a model trained on it in a second or two."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import sfumato
from sfumato.models.named import net_of
from sfumato.models.pixel import PixelModel
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe import recipe as recipes
from sfumato.recipe.recipe import Recipe

COLOURS = {"red": (210, 30, 40), "blue": (40, 70, 210), "green": (40, 160, 60), "white": (240, 240, 240)}
LABELS = ("ant", "bee", "cat")
SIDE = 16


def write_pictures(folder: Path, count: int = 60, grey: bool = False) -> Path:
    """PNG files in a folder a label, a caption beside each: a square of one colour on another, with a little grain."""
    rng = np.random.default_rng(0)
    pairs = list(itertools.permutations(COLOURS, 2))
    for k in range(count):
        ink, ground = pairs[k % len(pairs)]
        picture = np.full((SIDE, SIDE, 3), COLOURS[ground], np.uint8)
        y, x = rng.integers(1, SIDE - 8, 2)
        picture[y : y + 7, x : x + 7] = COLOURS[ink]
        picture += rng.integers(0, 11, picture.shape, dtype=np.uint8)  # no two are the same
        path = folder / LABELS[k % len(LABELS)] / f"{k:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(picture)
        (image.convert("L") if grey else image).save(path)
        path.with_suffix(".txt").write_text(f"a {ink} square on a {ground} background")
    return folder


def recipe_of(folder: Path, condition: str = "class", **sections: dict[str, Any]) -> Recipe:
    """The smallest net that has every part, on a folder of `write_pictures`."""
    values: dict[str, dict[str, Any]] = {
        "data": {"source": str(folder), "image_size": SIDE, "condition": condition, "held_out": 0.2, "flip": False},
        "net": {"channels": [16, 32], "attention": [False, True], "blocks": 1, "stem": 2},
        "train": {"images": 160, "batch": 16, "precision": "fp32", "lr": 5e-3, "warmup": 0},
        "sample": {"steps": 4, "sampler": "dpm++2m"},
        "judge": {"n": 16},
    }
    return recipes.build({key: values.get(key, {}) | sections.get(key, {}) for key in {*values, *sections}})


def train_run(folder: Path, recipe: Recipe, images: tuple[int, ...] = (160,)) -> Path:
    """A run with a checkpoint at each of `images`."""
    for seen in images:
        sfumato.train(recipe, [f"train.images={seen}"], folder)
    return folder


def shaken(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network with no layer at zero, as if it had learned something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return net.eval().requires_grad_(False)


def model_of(
    condition: str = "none", texts: tuple[str, ...] = LABELS, shape: tuple[int, int, int] = (3, 8, 8), **sections: Any
) -> PixelModel:
    """A model that was never trained; what it draws depends on all it is given."""
    recipe = recipe_of(Path("nowhere"), condition, **sections)
    vocabulary = Vocabulary.build(recipe.data.condition, texts, texts)
    torch.manual_seed(0)
    return PixelModel.of(shaken(net_of(recipe.net, shape, vocabulary)), recipe, vocabulary, shape, precision="fp32")


def small_features(x: Tensor) -> Tensor:
    """27 features: the picture at 3 x 3."""
    return F.adaptive_avg_pool2d(x.float() / 25 - 5, 3).flatten(1)
