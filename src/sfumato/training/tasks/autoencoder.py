"""The task `autoencoder`: pictures to latents and back, for a text-to-image model."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor, nn

from sfumato.device import Policy
from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.models.sd.checkpoint import plain
from sfumato.models.sd.networks import Autoencoder, autoencoder
from sfumato.models.unets import layout
from sfumato.noises.dice import Dice
from sfumato.pictures.feed import Feed
from sfumato.pictures.pixels import psnr, to_uint8
from sfumato.pictures.stored import Store
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.progress import Stages
from sfumato.recipe.recipe import Recipe
from sfumato.show.grid import side_by_side
from sfumato.training.augment import patches, recoloured
from sfumato.training.latents import autoencoder_named, check_sides
from sfumato.training.task import PIECE, Batch, HeldOut
from sfumato.training.tasks.generate import normal

KL = 1e-4
"""Weight of the KL divergence from a standard normal distribution, per latent value, beside the mean squared error. It
brings useful latents to a common scale and suppresses useless ones, at the cost of an error of about 5e-5 (49 dB)."""
RECOLOURED = 0.5  # share of the pictures with changed colours, so that it works beyond the colours of the data
HELD_OUT, PREVIEW = 512, 6
CHANNELS = (32, 64, 96, 128)


class LearnAutoencoder:
    """Train an AutoencoderKL on the pictures of a store, by squared error and a small KL term.

    With `net.encoder` only the decoder is trained, on the latents of that encoder.
    """

    def __init__(
        self, recipe: Recipe, store: Store, device: torch.device, precision: str, tell: Stages | None = None
    ) -> None:
        self.recipe, self.store, self.device, self.precision = recipe, store, device, precision
        unconditional = Vocabulary.build("none")
        self.feed = Feed(store.train, unconditional, recipe.data.flip, recipe.train.seed, device)
        torch.manual_seed(recipe.train.seed)
        net = recipe.net
        if net.encoder:
            self.vae = autoencoder_named(net.encoder, "net.encoder")
            self.vae.encoder.requires_grad_(False)
            self.vae.quant_conv.requires_grad_(False)
        else:
            try:
                self.vae = autoencoder(net.channels or CHANNELS, net.latent, net.blocks or 1)
            except ValueError as error:
                raise UserError(f"net: {' '.join(str(error).split())[:200]}") from error
        check_sides(recipe.data.source, store.shape, self.vae, net.piece)
        self.patch = net.piece or max(store.shape[1:])
        self.net: nn.Module = Autoencoder(self.vae)
        held = Feed(store.held_out, unconditional, False, 0, device)
        self.fixed, _ = held.draw(0, min(HELD_OUT, len(held)), torch.Generator().manual_seed(0))

    def draw(self, images: int, batch: int, generator: torch.Generator) -> Batch:
        x, _ = self.feed.draw(images, batch, generator)
        if self.patch < max(x.shape[2:]):
            x = patches(x, min(self.patch, *x.shape[2:]), generator)
        x = recoloured(x, Dice(generator, self.device), RECOLOURED).contiguous(memory_format=layout(self.device))
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        like = x.new_empty(batch, self.vae.config.latent_channels, x.shape[2] // factor, x.shape[3] // factor)
        return {"x": x, "noise": normal(like, generator)}

    def loss(self, net: nn.Module, part: Batch) -> Tensor:
        back, mean, logvar = net(part["x"], part["noise"])
        error = (back.float() - part["x"]).square().flatten(1).mean(1)
        kl = 0.5 * (mean.float().square() + logvar.float().exp() - 1 - logvar.float()).flatten(1).mean(1)
        return error + KL * kl

    @torch.inference_mode()
    def held_out(self, net: nn.Module) -> HeldOut:
        error = torch.cat([(self._back(net, x) - x).square().flatten(1).mean(1) for x in self.fixed.split(PIECE)])
        return HeldOut(float(error.mean()), figures={"psnr": float(psnr(error, 2).mean())})

    @torch.inference_mode()
    def preview(self, net: nn.Module) -> Image.Image:
        x = self.fixed[:PREVIEW]
        return side_by_side({"true": to_uint8(x), "back": to_uint8(self._back(net, x))})

    def describe(self) -> Json:
        return {"vae": plain(self.vae.config), "data": {"digest": self.store.digest}}

    def _back(self, net: nn.Module, x: Tensor) -> Tensor:
        still = x.new_zeros(len(x), self.vae.config.latent_channels, 1, 1)
        with Policy.of(self.precision).autocast_autoencoder(self.device):
            back: Tensor = net(x, still)[0]
        return back.float().clamp(-1, 1)
