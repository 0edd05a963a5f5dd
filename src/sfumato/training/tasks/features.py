"""The task `features`: a small classifier whose pooled activations are the features `mini` of judging."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.device import Policy
from sfumato.files import Json
from sfumato.nets.classifier import Classifier, cropped
from sfumato.pictures.feed import Feed
from sfumato.pictures.stored import Store
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.progress import Stages
from sfumato.recipe.recipe import Recipe
from sfumato.training.task import Batch, HeldOut

SMOOTHING = 0.1


class LearnFeatures:
    """Train on the labels of a store, with pictures mirrored and shifted by up to 2 pixels."""

    def __init__(
        self, recipe: Recipe, store: Store, device: torch.device, precision: str, tell: Stages | None = None
    ) -> None:
        self.vocabulary = Vocabulary.build("class", store.train.label_names)
        self.store, self.device, self.precision = store, device, precision
        self.feed = Feed(store.train, self.vocabulary, recipe.data.flip, recipe.train.seed, device)
        self.held = Feed(store.held_out, self.vocabulary, False, 0, device)
        torch.manual_seed(recipe.train.seed)
        self.net: nn.Module = Classifier()

    def draw(self, images: int, batch: int, generator: torch.Generator) -> Batch:
        pictures, cond = self.feed.draw(images, batch, generator)
        return {"x": cropped(pictures, generator), "label": cond[:, 0] - 1}

    def loss(self, net: nn.Module, part: Batch) -> Tensor:
        logits = net(part["x"])
        return F.cross_entropy(logits.float(), part["label"], reduction="none", label_smoothing=SMOOTHING)

    @torch.inference_mode()
    def held_out(self, net: nn.Module) -> HeldOut:
        right, losses = 0, 0.0
        order = torch.Generator().manual_seed(0)
        for first in range(0, len(self.held), 500):
            pictures, cond = self.held.draw(first, min(500, len(self.held) - first), order)
            with Policy.of(self.precision).autocast(self.device):
                logits = net(pictures).float()
            losses += float(F.cross_entropy(logits, cond[:, 0] - 1, reduction="sum"))
            right += int((logits.argmax(1) == cond[:, 0] - 1).sum())
        return HeldOut(losses / len(self.held), figures={"accuracy": right / len(self.held)})

    def preview(self, net: nn.Module) -> Image.Image | None:
        return None

    def describe(self) -> Json:
        return {"classes": list(self.vocabulary.words), "data": {"digest": self.store.digest}}
