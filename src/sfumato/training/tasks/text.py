"""The task `text`: a text-to-image model on the latents of an autoencoder, trained together with its text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor, nn

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Network, Preconditioned, conditioned
from sfumato.diffusion.loss import denoising_loss
from sfumato.diffusion.schedule import midpoints, stratified
from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.models.family import LatentNet
from sfumato.models.latent import LatentModel
from sfumato.models.sampling import Sampling
from sfumato.models.sd.checkpoint import describe
from sfumato.models.sd.fresh import fresh
from sfumato.models.unets import layout
from sfumato.models.words import words_of
from sfumato.pictures.feed import Order
from sfumato.pictures.stored import Store
from sfumato.progress import Stages
from sfumato.recipe.recipe import Recipe
from sfumato.show.grid import grid
from sfumato.training.begin import check_latents, model_named
from sfumato.training.latents import autoencoder_named, check_sides, encoded, scale_of
from sfumato.training.task import Batch, HeldOut, bands, pieces
from sfumato.training.tasks.generate import normal

HELD_OUT, PREVIEW, STEPS = 512, 16, 12


class LearnText:
    """Train D(x, level, cond) on the latents of captioned pictures; cond: the caption's tokens."""

    def __init__(
        self, recipe: Recipe, store: Store, device: torch.device, precision: str, tell: Stages | None = None
    ) -> None:
        captions = store.train.sentences
        if not captions:
            raise UserError(f"{recipe.data.source} has no captions and no labels: put NAME.txt beside each picture")
        self.recipe, self.device, self.precision = recipe, device, precision
        self.vae = autoencoder_named(recipe.text.autoencoder, "text.autoencoder").to(device)
        base = model_named(recipe.train.begin)
        if base is not None and not isinstance(base, LatentModel):
            raise UserError(
                f"train.begin={recipe.train.begin} is not a text-to-image model: choose one, or leave it out"
            )
        if base is not None:
            check_latents(self.vae, base.autoencoder, recipe)
        check_sides(recipe.data.source, store.shape, self.vae)
        words = words_of(store.known or captions, store.synonyms)
        self.model = fresh(recipe, self.vae, captions, store.shape, device, precision, base, words=words)
        self.store = encoded(store, self.vae, precision, tell)  # takes minutes: after all that can be wrong
        scale = scale_of(self.store.train.pixels) if base is None else base.autoencoder.config.scaling_factor
        self.vae.register_to_config(scaling_factor=round(scale, 5))
        self.net: nn.Module = self.model.net
        self.schedule = self.model.schedule
        self.order = Order(len(store.train), recipe.train.seed, device)
        self.variants = len(captions) // len(store.train)
        self.captions = self._tokens(captions)
        self.null = self._tokens([""])
        self.fixed = self._fixed()

    def draw(self, images: int, batch: int, generator: torch.Generator) -> Batch:
        which = self.order.indices(images, batch)
        u = stratified(batch, generator)
        conditioned_on = torch.rand(batch, generator=generator) >= self.recipe.train.drop_condition
        caption = which
        if self.variants > 1:
            number = torch.randint(0, self.variants, (batch,), generator=generator)
            caption = which + len(self.store.train) * number.to(self.device)
        cond = torch.where(conditioned_on[:, None].to(self.device), self.captions[caption], self.null)
        x0 = self._latents(self.store.train.pixels[which])
        return {"x0": x0, "cond": cond, "u": u, "noise": normal(x0, generator)}

    def loss(self, net: nn.Module, part: Batch) -> Tensor:
        return self._loss(conditioned(net), part)

    def _loss(self, network: Network, part: Batch) -> Tensor:
        noise = self.recipe.noise
        return denoising_loss(
            Preconditioned(network, noise.prediction), noise.weighting, part["x0"], part["noise"],
            self.schedule.draw(part["u"]), Condition.of(tokens=part["cond"]),
        )  # fmt: skip

    @torch.inference_mode()
    def held_out(self, net: nn.Module) -> HeldOut:
        network = self._model(net).network
        losses = torch.cat([self._loss(network, part) for part in pieces(self.fixed)]).cpu().double()
        return HeldOut(float(losses.mean()), bands(self.schedule.draw(self.null_u).ratio, losses))

    def preview(self, net: nn.Module) -> Image.Image:
        model = self._model(net)
        texts = list(self.store.held_out.sentences or [])[:PREVIEW]
        return grid(
            model.sample(len(texts), texts=texts, sampling=Sampling(steps=STEPS), warn=False), columns=4, captions=texts
        )

    def describe(self) -> Json:
        return describe(self._model(self.net)) | {"data": {"digest": self.store.digest}}

    @property
    def null_u(self) -> Tensor:
        return self.fixed["u"]

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        return self.model.tokens(texts).tensors["tokens"].to(self.device)

    def _fixed(self) -> Batch:
        held = self.store.held_out
        count = min(HELD_OUT, len(held))
        x0 = self._latents(held.pixels[:count])
        cond = self._tokens(list(held.sentences or [])[:count])
        u = midpoints(count)
        return {"x0": x0, "cond": cond, "u": u, "noise": normal(x0, torch.Generator().manual_seed(0))}

    def _latents(self, stored: Tensor) -> Tensor:
        x0 = stored.to(self.device).float() * self.vae.config.scaling_factor
        return x0.contiguous(memory_format=layout(self.device))

    def _model(self, net: nn.Module) -> LatentModel:
        if not isinstance(net, LatentNet):
            raise TypeError(f"{type(net).__name__} is no LatentNet")
        return replace(self.model, net=net)
