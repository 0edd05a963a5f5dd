"""The task `text`: a text-to-image model on the latents of an autoencoder, its text encoder learned with it."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from sfumato.diffusion.denoiser import Preconditioned
from sfumato.diffusion.loss import denoising_loss
from sfumato.diffusion.schedule import Discrete
from sfumato.errors import UserError
from sfumato.models.named import schedule_of
from sfumato.models.sd.checkpoint import describe
from sfumato.models.sd.model import TextModel
from sfumato.models.sd.networks import TextNet, layout, text_encoder, unet
from sfumato.models.sd.prompts import tokens
from sfumato.models.words import words_of
from sfumato.pictures.feed import Order
from sfumato.pictures.store import Store
from sfumato.pictures.tokenizer import learn_tokenizer
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.progress import Stages
from sfumato.recipe.recipe import Recipe
from sfumato.show.grid import grid
from sfumato.training.begin import check_latents, model_named
from sfumato.training.latents import autoencoder_named, check_sides, encoded, scale_of
from sfumato.training.task import Batch, HeldOut, bands
from sfumato.training.tasks.generate import normal

HELD_OUT, PREVIEW, STEPS = 512, 16, 12
LEARNED_FROM = 50_000  # captions that the tokenizer is learned from, at most
CHANNELS, ATTENTION = (96, 192), (False, True)


class LearnText:
    """Teach D(x, level, cond) the captioned pictures of a store, as latents; cond are the caption's tokens."""

    def __init__(
        self, recipe: Recipe, store: Store, device: torch.device, precision: str, tell: Stages | None = None
    ) -> None:
        captions = store.train.said
        if not captions:
            raise UserError(f"{recipe.data.source} has no captions and no labels: put NAME.txt beside each picture")
        self.recipe, self.device, self.precision = recipe, device, precision
        self.vae: Any = autoencoder_named(recipe.text.autoencoder, "text.autoencoder").to(device)
        base: Any = model_named(recipe.train.begin)
        if base is not None and not isinstance(base, TextModel):
            raise UserError(f"train.begin={recipe.train.begin} is no text-to-image model: name one, or leave it out")
        if base is not None:
            check_latents(self.vae, base.autoencoder, recipe)
        check_sides(recipe.data.source, store.shape, self.vae)
        self.pictures, self.store = store.shape, encoded(store, self.vae, precision, tell)
        scale = scale_of(self.store.train.pixels) if base is None else base.autoencoder.config.scaling_factor
        self.vae.register_to_config(scaling_factor=round(scale, 5))
        self.tokenizer: Any = None if base is None else base.tokenizer
        if self.tokenizer is None:
            self.tokenizer = learn_tokenizer(captions[:LEARNED_FROM], recipe.text.words, recipe.text.length)
        self.words = words_of(store.known or captions, store.synonyms)
        schedule = schedule_of(recipe.noise)
        if not isinstance(schedule, Discrete):
            raise UserError("task text: noise.schedule is linear, cosine or scaled-linear-zero, as Stable Diffusion's")
        self.schedule = schedule
        torch.manual_seed(recipe.train.seed)
        self.net: nn.Module = self._network()
        self.order = Order(len(store.train), recipe.train.seed, device)
        self.variants = len(captions) // len(store.train)
        self.captions = tokens(self.tokenizer, captions).to(device)
        self.null = tokens(self.tokenizer, [""]).to(device)
        self.fixed = self._fixed()

    def draw(self, images: int, batch: int, generator: torch.Generator) -> Batch:
        which = self.order.indices(images, batch)
        strata = torch.arange(batch, dtype=torch.float64)
        u = (strata + torch.rand(batch, dtype=torch.float64, generator=generator)) / batch
        told = torch.rand(batch, generator=generator) >= self.recipe.train.drop_condition
        caption = which
        if self.variants > 1:
            number = torch.randint(0, self.variants, (batch,), generator=generator)
            caption = which + len(self.store.train) * number.to(self.device)
        cond = torch.where(told[:, None].to(self.device), self.captions[caption], self.null)
        x0 = self._latents(self.store.train.pixels[which])
        return {"x0": x0, "cond": cond, "u": u, "noise": normal(x0, generator)}

    def loss(self, net: nn.Module, part: Batch) -> Tensor:
        noise = self.recipe.noise
        return denoising_loss(
            Preconditioned(net, noise.prediction), noise.weighting, part["x0"], part["noise"],
            self.schedule.draw(part["u"]), part["cond"],
        )  # fmt: skip

    @torch.inference_mode()
    def held_out(self, net: nn.Module) -> HeldOut:
        network: Any = self._model(net).network
        rows = [{key: value[i : i + 64] for key, value in self.fixed.items()} for i in range(0, len(self.null_u), 64)]
        losses = torch.cat([self.loss(network, part) for part in rows]).cpu().double()
        return HeldOut(float(losses.mean()), bands(self.schedule.draw(self.null_u).ratio, losses))

    def preview(self, net: nn.Module) -> Image.Image:
        model = self._model(net)
        texts = list(self.store.held_out.said or [])[:PREVIEW]
        return grid(model.sample(len(texts), texts=texts, steps=STEPS, warn=False), columns=4, captions=texts)

    def describe(self) -> dict[str, Any]:
        return describe(self._model(self.net)) | {"data": {"digest": self.store.digest}}

    @property
    def null_u(self) -> Tensor:
        return self.fixed["u"]

    def _network(self) -> TextNet:
        recipe, (latent, side, _) = self.recipe, self.store.shape
        net, text = recipe.net, recipe.text
        made = TextNet(
            unet(side, latent, net.channels or CHANNELS, net.attention or ATTENTION, net.blocks or 1, text.width),
            text_encoder(len(self.tokenizer), text.length, text.width, text.layers),
            self.schedule,
        )
        made.unet.to(memory_format=layout(self.device))
        made.vae = self.vae.requires_grad_(False).eval()  # with the checkpoint, so that it can be used alone
        return made

    def _fixed(self) -> Batch:
        held = self.store.held_out
        count = min(HELD_OUT, len(held))
        x0 = self._latents(held.pixels[:count])
        cond = tokens(self.tokenizer, list(held.said or [])[:count]).to(self.device)
        u = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        return {"x0": x0, "cond": cond, "u": u, "noise": normal(x0, torch.Generator().manual_seed(0))}

    def _latents(self, stored: Tensor) -> Tensor:
        x0 = stored.to(self.device).float() * self.vae.config.scaling_factor
        return x0.contiguous(memory_format=layout(self.device))

    def _model(self, net: Any) -> TextModel:
        told = Vocabulary("words", [], self.recipe.text.length)
        recipe = self.recipe.model_copy(deep=True)
        recipe.sample.clip = False
        return TextModel(
            net, recipe, told, self.pictures, device=str(self.device), precision=self.precision, vae=self.vae,
            tokenizer=self.tokenizer, levels=self.schedule, words=self.words,
        )  # fmt: skip
