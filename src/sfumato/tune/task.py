"""The task `tune`: a LoRA learns a few photos, and stays with its base where they are not meant."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from sfumato.diffusion.denoiser import Preconditioned
from sfumato.diffusion.loss import denoising_loss
from sfumato.recipe import Recipe
from sfumato.sections import Tune as Settings
from sfumato.show.grid import grid
from sfumato.text.model import TextModel
from sfumato.text.prompts import tokens
from sfumato.train.generate import normal
from sfumato.train.task import Batch, HeldOut, bands
from sfumato.tune.adapter import Adapter, Shape, attach, without
from sfumato.tune.parked import Parked
from sfumato.tune.photoset import PhotoSet

STRATA, NOISES = 10, 4  # of the held-out loss: levels, and noises at each
SHOWN = ("a {thing}", "a {thing} on a blue background", "a small {thing}", "a large {thing} on a white background")


class Personalise:
    """Teach the adapter of a base the captions of a photo set; `prior` holds it to the base on the class's words.

    The autoencoder, and the text encoder unless it learns too, are out of memory between previews.
    """

    def __init__(self, recipe: Recipe, model: TextModel, photos: PhotoSet, thing: str) -> None:
        self.recipe, self.model, self.photos, self.thing = recipe, model, photos, thing
        self.device = torch.device(model.device)
        attach(model.net, shape_of(recipe.tune), recipe.train.seed)  # type: ignore[arg-type]
        self.net: nn.Module = Adapter(model.net)  # type: ignore[arg-type]
        self.learned = torch.tensor(photos.learned)
        assert model.tokenizer is not None
        told = [*photos.captions, f"a {recipe.tune.noun}", ""]
        self.told = self._told(tokens(model.tokenizer, told))
        self.plain, self.null = len(told) - 2, len(told) - 1
        self.fixed = self._fixed()
        self.others = photos.latents[:, 0]  # until `meet`
        away: list[nn.Module] = [model.autoencoder]
        self.parked = Parked(away if recipe.tune.text_encoder else [*away, model.net.text])  # type: ignore[list-item]

    def meet(self, others: Tensor) -> None:
        """Latents of pictures of the class, (N, C, h, w), that are learned beside the photos."""
        self.others = others

    def save_memory(self) -> None:
        """Compute the base's activations twice, and hold few of them (Chen et al. 2016)."""
        unet: Any = self.model.net.unet
        unet.enable_gradient_checkpointing()

    def draw(self, images: int, batch: int, generator: torch.Generator) -> Batch:
        at = torch.randint(0, len(self.learned), (batch,), generator=generator)
        which = self.learned[at]
        variant = torch.randint(0, self.photos.latents.shape[1], (batch,), generator=generator)
        x0 = self.photos.latents[which, variant].to(self.device)
        strata = torch.arange(batch, dtype=torch.float64)
        u = (strata + torch.rand(batch, dtype=torch.float64, generator=generator)) / batch
        told = torch.rand(batch, generator=generator) >= self.recipe.train.drop_condition
        row = torch.where(told, which, self.null).to(self.device)
        drawn = {"x0": x0, "row": row, "u": u, "noise": normal(x0, generator)}
        if self.recipe.tune.class_pictures:
            other = torch.randint(0, len(self.others), (batch,), generator=generator)
            drawn |= {"other": self.others[other].to(self.device), "grain": normal(x0, generator)}
        return drawn

    def loss(self, net: nn.Module, part: Batch) -> Tensor:
        noise, prior = self.recipe.noise, self.recipe.tune.prior
        denoiser = Preconditioned(net, noise.prediction)
        level = self.model.schedule.draw(part["u"])
        found = denoising_loss(denoiser, noise.weighting, part["x0"], part["noise"], level, self._cond(part["row"]))
        if not prior or not torch.is_grad_enabled():
            return found
        if "other" not in part:
            return found + prior * self._stray(denoiser, part)
        plain = self._cond(torch.full_like(part["row"], self.plain))
        return found + prior * denoising_loss(denoiser, noise.weighting, part["other"], part["grain"], level, plain)

    def _stray(self, denoiser: Preconditioned, part: Batch) -> Tensor:
        """How far the adapter leads from the base on the class's own words, (N,): no class pictures are needed."""
        x = self.model.schedule.draw(part["u"]).mix(part["x0"], part["noise"])
        level = self.model.schedule.draw(part["u"])
        cond = self._cond(torch.full_like(part["row"], self.plain))
        with torch.no_grad(), without(self.model.net):
            base, _ = denoiser.raw(x, level, cond)
        ours, _ = denoiser.raw(x, level, cond)
        return (ours - base).square().flatten(1).mean(1)

    @torch.no_grad()
    def held_out(self, net: nn.Module) -> HeldOut:
        losses, stray = [], []
        denoiser = Preconditioned(net, self.recipe.noise.prediction)
        at_once = 4 * self.recipe.train.batch  # holds less memory than a step
        for k in range(0, len(self.fixed["u"]), at_once):
            part = {key: value[k : k + at_once] for key, value in self.fixed.items()}
            losses.append(self.loss(net, part).cpu().double())
            stray.append(self._stray(denoiser, part).cpu().double())
        ratio = self.model.schedule.draw(self.fixed["u"]).ratio
        found = torch.cat(losses)
        return HeldOut(float(found.mean()), bands(ratio, found), {"drift": float(torch.cat(stray).mean())})

    @torch.no_grad()
    def preview(self, net: nn.Module) -> Image.Image:
        texts = [each.format(thing=self.thing) for each in SHOWN]
        with self.parked.here(), net.in_place() if isinstance(net, Adapter) else contextlib.nullcontext():
            return grid(self.model.sample(len(texts), texts=texts), columns=4, captions=texts)

    def describe(self) -> dict[str, Any]:
        return {"shape": list(self.model.shape), "vocabulary": self.model.vocabulary.to_json(), "thing": self.thing}

    def _told(self, ids: Tensor) -> Tensor:
        """Tokens if the text encoder learns too, else its states, made once."""
        if self.recipe.tune.text_encoder:
            return ids.to(self.device)
        with torch.no_grad():
            states: Tensor = self.model.net.states(ids.to(self.device)).float()  # type: ignore[operator]
        return states

    def _cond(self, row: Tensor) -> Tensor:
        return self.told[row]

    def _fixed(self) -> Batch:
        """Held-out photos (of one photo: itself) at fixed levels with fixed noise."""
        rows = self.photos.held_out or self.photos.learned[:1]
        count = STRATA * NOISES * len(rows)
        which = torch.tensor(rows).repeat_interleave(STRATA * NOISES)
        x0 = self.photos.latents[which, 0].to(self.device)
        u = ((torch.arange(count) % STRATA).double() + 0.5) / STRATA
        noise = normal(x0, torch.Generator().manual_seed(0))
        return {"x0": x0, "row": which.to(self.device), "u": u, "noise": noise}


def shape_of(s: Settings) -> Shape:
    init: bool | str = True if s.init == "default" else s.init
    return Shape(s.rank, s.alpha, s.dropout, s.feed_forward, s.text_encoder, s.dora, s.rank_stabilised, init)
