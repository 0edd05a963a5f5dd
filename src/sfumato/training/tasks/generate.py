"""The task `generate`: a denoiser for all levels, that is a diffusion model."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor, nn

from sfumato.device import Policy
from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Network, Preconditioned, conditioned
from sfumato.diffusion.loss import denoising_loss
from sfumato.diffusion.schedule import midpoints, stratified
from sfumato.files import Json
from sfumato.models.named import net_of, schedule_of
from sfumato.models.pixel import PixelModel
from sfumato.models.sampling import Sampling
from sfumato.pictures.feed import Feed
from sfumato.pictures.stored import Store
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.progress import Stages
from sfumato.recipe.recipe import Recipe
from sfumato.show.grid import grid
from sfumato.training.task import Batch, HeldOut, bands, pieces

HELD_OUT = 256
PREVIEW = 16


class Generate:
    """Train D(x, level, cond) on the pictures of a store."""

    def __init__(
        self, recipe: Recipe, store: Store, device: torch.device, precision: str, tell: Stages | None = None
    ) -> None:
        data = recipe.data
        self.recipe, self.store, self.device, self.precision = recipe, store, device, precision
        self.vocabulary = vocabulary_of(recipe, store)
        self.feed = Feed(store.train, self.vocabulary, data.flip, recipe.train.seed, device)
        torch.manual_seed(recipe.train.seed)
        self.net: nn.Module = net_of(recipe.net, store.shape, self.vocabulary)
        self.schedule = schedule_of(recipe.noise)
        held = Feed(store.held_out, self.vocabulary, False, 0, device)
        fixed = torch.Generator().manual_seed(0)
        count = min(HELD_OUT, len(store.held_out))
        x0, cond = held.draw(0, count, fixed)
        u = midpoints(count)
        self.fixed: Batch = {"x0": x0, "cond": cond, "u": u, "noise": normal(x0, fixed)}

    def draw(self, images: int, batch: int, generator: torch.Generator) -> Batch:
        x0, cond = self.feed.draw(images, batch, generator)
        u = stratified(batch, generator)
        conditioned_on = torch.rand(batch, generator=generator) >= self.recipe.train.drop_condition
        noise = normal(x0, generator)
        return {"x0": x0, "cond": cond * conditioned_on[:, None].to(self.device), "u": u, "noise": noise}

    def loss(self, net: nn.Module, part: Batch) -> Tensor:
        return self._loss(conditioned(net), part)

    def _loss(self, network: Network, part: Batch) -> Tensor:
        noise = self.recipe.noise
        denoiser = Preconditioned(network, noise.prediction, noise.sigma_data)
        dtype = Policy.of(self.precision).state
        return denoising_loss(
            denoiser,
            noise.weighting,
            part["x0"].to(dtype),
            part["noise"].to(dtype),
            self.schedule.draw(part["u"]),
            Condition.of(tokens=part["cond"]) if self.vocabulary.kind != "none" else None,
        )

    @torch.inference_mode()
    def held_out(self, net: nn.Module) -> HeldOut:
        network = self._model(net).network
        losses = torch.cat([self._loss(network, part) for part in pieces(self.fixed)]).cpu().double()
        ratio = self.schedule.draw(self.fixed["u"]).ratio
        return HeldOut(float(losses.mean()), bands(ratio, losses))

    def preview(self, net: nn.Module) -> Image.Image:
        model = self._model(net)
        texts = self._texts()
        steps = min(model.defaults.steps, 20)
        return grid(model.sample(PREVIEW, texts=texts, seed=0, sampling=Sampling(steps=steps)), columns=4)

    def describe(self) -> Json:
        return {
            "shape": list(self.store.shape),
            "vocabulary": self.vocabulary.to_json(),
            "data": {"source": self.recipe.data.source, "digest": self.store.digest},
        }

    def _texts(self) -> list[str] | None:
        if self.vocabulary.kind == "class":
            return list(self.vocabulary.words)
        if self.vocabulary.kind == "words" and (sentences := self.store.held_out.sentences):
            return self.vocabulary.encodable(sentences[:PREVIEW])
        return None

    def _model(self, net: nn.Module) -> PixelModel:
        return PixelModel.of(
            net, self.recipe, self.vocabulary, self.store.shape, device=str(self.device), precision=self.precision
        )


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise of a picture's shape, drawn on the picture's device from the generator's seed."""
    if like.device.type == "cpu":
        return torch.randn(like.shape, generator=generator)
    own = torch.Generator(like.device).manual_seed(generator.initial_seed())
    return torch.randn(like.shape, generator=own, device=like.device)


def vocabulary_of(recipe: Recipe, store: Store) -> Vocabulary:
    """The vocabulary of the model's condition, by `data.condition` of the recipe."""
    labels = list(store.train.label_names)
    return Vocabulary.build(recipe.data.condition, labels, store.train.sentences or [])
