"""The task `denoise`: a denoiser for noisy pictures, which may be clipped like files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from sfumato.device import Policy
from sfumato.diffusion.condition import Condition, tensors_of
from sfumato.diffusion.denoiser import Preconditioned
from sfumato.diffusion.level import Level, fit
from sfumato.diffusion.loss import denoising_loss
from sfumato.diffusion.saturation import clipped_noise
from sfumato.diffusion.schedule import midpoints, stratified
from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.models.named import net_of, schedule_of
from sfumato.models.pixel import PixelModel
from sfumato.noises.dice import Dice
from sfumato.noises.photo import photo_noise
from sfumato.pictures.feed import Feed
from sfumato.pictures.pixels import psnr, to_uint8
from sfumato.pictures.stored import Store
from sfumato.pictures.vocabulary import CLIPPED, NOISE, PURE, Vocabulary
from sfumato.progress import Stages
from sfumato.recipe.recipe import Recipe
from sfumato.show.grid import side_by_side
from sfumato.training.augment import greyed, mirrored, patches, recoloured, turned
from sfumato.training.task import PIECE, Batch, HeldOut, bands, pieces
from sfumato.training.tasks.generate import HELD_OUT, normal

PREVIEW, SIGMA = 6, 0.4  # pictures, and their noise: 0.2 on a picture in [0, 1]
PATCH, PHOTO_PATCH = 64, 80  # side in pixels; larger for photos because the gauge needs a larger field
GAUGE_WEIGHT = 0.1
EASY = 0.005  # relative error below which further improvement counts little
SPREAD = 0.2  # random error of ln sigma that the network is given for noise that is not white, as estimates have


class Denoise:
    """Train D(x, level, cond) to denoise the pictures of a store; cond distinguishes pure from clipped noise."""

    def __init__(
        self, recipe: Recipe, store: Store, device: torch.device, precision: str, tell: Stages | None = None
    ) -> None:
        self.recipe, self.store, self.device, self.precision = recipe, store, device, precision
        patch = PHOTO_PATCH if self.photo else PATCH
        self.patch = min(patch, *store.shape[1:]) if recipe.data.crop == "pieces" else 0
        side = (self.patch, self.patch) if self.patch else store.shape[1:]
        self.shape = (store.shape[0], *side)
        self.clipping_known = 0 < recipe.noise.clipped < 1
        self.vocabulary = NOISE if self.clipping_known else Vocabulary.build("none")
        unconditional = Vocabulary.build("none")
        if self.photo and store.shape[0] != 3:
            raise UserError("noise.model=photo needs pictures in colour: leave data.grey out, or use noise.model=white")
        self.feed = Feed(store.train, unconditional, False, recipe.train.seed, device)
        torch.manual_seed(recipe.train.seed)
        self.net: nn.Module = net_of(recipe.net, self.shape, self.vocabulary)
        self.schedule = schedule_of(recipe.noise)
        fixed = torch.Generator().manual_seed(0)
        count = min(HELD_OUT, len(store.held_out))
        x0, _ = Feed(store.held_out, unconditional, False, 0, device).draw(0, count, fixed)
        x0 = patches(x0, self.patch, fixed) if self.patch else x0
        self.fixed: Batch = self._noisy(x0, fixed) if self.photo else self._white(x0, fixed)

    def draw(self, images: int, batch: int, generator: torch.Generator) -> Batch:
        """Pictures, mirrored, or random patches of pieces, turned and mirrored; `clip`: those with clipped noise."""
        x0, _ = self.feed.draw(images, batch, generator)
        x0 = patches(x0, self.patch, generator) if self.patch else x0
        if self.recipe.data.flip:  # whole pictures are upright
            x0 = turned(x0, generator) if self.patch else mirrored(x0, generator)
        if self.photo:
            return self._noisy(x0, generator, vary=True)
        u = stratified(batch, generator)
        clip = torch.rand(batch, generator=generator) < self.recipe.noise.clipped
        grey = torch.rand(batch, generator=generator) < self.recipe.noise.grey
        x0, noise = greyed(x0, normal(x0, generator), grey.to(self.device))
        return {"x0": x0, "u": u, "noise": noise, "clip": clip.to(self.device)}

    @property
    def photo(self) -> bool:
        return self.recipe.noise.model == "photo"

    def _white(self, x0: Tensor, generator: torch.Generator) -> Batch:
        """Held-out pictures with white noise at evenly spread levels."""
        u = midpoints(len(x0))
        clip = torch.arange(len(x0)) % 16 < 16 * self.recipe.noise.clipped
        return {"x0": x0, "u": u, "noise": normal(x0, generator), "clip": clip.to(self.device)}

    def _noisy(self, x0: Tensor, generator: torch.Generator, vary: bool = False) -> Batch:
        """Pictures with the noises of photos: `noisy`, its `sigma`, and the `level` that the network is given.

        vary: exchange colours, and make some pictures grey. For noise that is not white, `clip` is random, so that the
        network ignores it there.
        """
        dice, n = Dice(generator, self.device), len(x0)
        grey = None
        if vary:
            x0 = recoloured(x0, dice)
            grey = dice.coin(n, self.recipe.noise.grey).flatten()
            x0, _ = greyed(x0, x0, grey)
        made = photo_noise(x0, dice, self.recipe.noise.clipped, grey)
        rough = made.sigma * (SPREAD * dice.gauss(n).flatten()).exp()
        level = torch.where(made.white, made.sigma, rough)
        clip = torch.where(made.white, made.clipped, dice.coin(n, 0.5).flatten())
        return {"x0": x0, "noisy": made.x, "sigma": made.sigma, "level": level, "clip": clip}

    def _level(self, part: Batch) -> Level:
        return Level.of(part["level"]) if self.photo else self.schedule.draw(part["u"])

    def loss(self, net: nn.Module, part: Batch) -> Tensor:
        return self._loss(net, part)

    def _loss(self, net: Callable[..., Any], part: Batch) -> Tensor:
        noise = self.recipe.noise
        dtype = Policy.of(self.precision).state
        level = self._level(part)
        x0 = part["x0"].to(dtype)
        if self.photo:
            n = (part["noisy"].to(dtype) - x0) / fit(level.ratio, x0)
            truth = part["sigma"].log()
        else:
            n = clipped_noise(x0, part["noise"].to(dtype), level, part["clip"])
            truth = level.ratio.log()
        cond = Condition.of(tokens=(1 + part["clip"].long())[:, None]) if self.clipping_known else None
        read: list[Tensor] = []

        def network(x: Tensor, c: Tensor, cond: Condition | None) -> Tensor:
            if not self.recipe.net.gauge:
                plain: Tensor = net(x, c, **tensors_of(cond))
                return plain
            out: Tensor
            out, gauged = net(x, c, noisy=Level.of(level.ratio).mix(x0, n), **tensors_of(cond))
            read.append(gauged)
            return out

        loss = denoising_loss(
            Preconditioned(network, noise.prediction, noise.sigma_data), noise.weighting, x0, n, level, cond
        )
        if self.photo:  # as in PSNR, a tenth less error counts the same on a flat wall and on grass
            loss = EASY**0.5 * (loss / EASY).log1p()
        for gauged in read:
            loss = loss + GAUGE_WEIGHT * (gauged - truth.to(gauged)).square()
        return loss

    @torch.inference_mode()
    def held_out(self, net: nn.Module) -> HeldOut:
        model = self._model(net)

        def network(*given: Tensor, **condition: Tensor) -> Tensor | tuple[Tensor, ...]:
            with model.autocast():
                output: Tensor | tuple[Tensor, ...] = net(*given, **condition)
            return output

        losses = torch.cat([self._loss(network, part) for part in pieces(self.fixed)]).cpu().double()
        ratio = self._level(self.fixed).ratio.cpu()
        x0, noisy = self._shown(HELD_OUT)
        error = (self._clean(net, noisy) - x0).square().flatten(1).mean(1)
        figures = {"psnr": float(psnr(error, 2).mean())} | self._read(net)
        return HeldOut(float(losses.mean()), bands(ratio, losses), figures)

    def _read(self, net: nn.Module) -> dict[str, float]:
        """The gauge's root mean square error of ln sigma on noise of photos."""
        gauge = self._model(net).net.gauge
        if not self.photo or gauge is None:
            return {}
        read = torch.cat([gauge(part) for part in self.fixed["noisy"].split(PIECE)])
        return {"gauge": float((read - self.fixed["sigma"].log()).square().mean().sqrt())}

    @torch.inference_mode()
    def preview(self, net: nn.Module) -> Image.Image:
        """Noisy, denoised and true pictures, at sigma 0.2 on pictures in [0, 1]."""
        x0, noisy = self._shown(PREVIEW)
        columns = {"noisy": noisy, "denoised": self._clean(net, noisy), "true": x0}
        return side_by_side({name: to_uint8(x) for name, x in columns.items()})

    def describe(self) -> Json:
        return {
            "shape": list(self.shape),
            "vocabulary": self.vocabulary.to_json(),
            "data": {"source": self.recipe.data.source, "digest": self.store.digest},
        }

    def _shown(self, count: int) -> tuple[Tensor, Tensor]:
        """Held-out pictures with fixed noise, clipped if most of the training's noise is."""
        x0 = self.fixed["x0"][:count]
        noisy = x0 + SIGMA * normal(x0, torch.Generator().manual_seed(1))
        return x0, noisy.clamp(-1, 1) if self.recipe.noise.clipped >= 0.5 else noisy

    def _clean(self, net: nn.Module, noisy: Tensor) -> Tensor:
        model = self._model(net)
        clipping = [CLIPPED if self.recipe.noise.clipped >= 0.5 else PURE] if self.clipping_known else None
        level = Level.of(SIGMA)
        cond = model.condition(clipping, 1)
        rows = [model.denoiser(x, level, None if cond is None else cond.repeat(len(x))) for x in noisy.split(PIECE)]
        return torch.cat(rows).clamp(-1, 1)

    def _model(self, net: nn.Module) -> PixelModel:
        shape = (self.shape[0], self.shape[1], self.shape[2])
        return PixelModel.of(
            net, self.recipe, self.vocabulary, shape, device=str(self.device), precision=self.precision
        )
