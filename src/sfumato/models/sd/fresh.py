"""An untrained text-to-image model on the latents of an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from sfumato.diffusion.schedule import Discrete
from sfumato.errors import UserError
from sfumato.models.latent import LatentModel
from sfumato.models.named import schedule_of
from sfumato.models.pipelines import unclipped
from sfumato.models.sd.family import SD
from sfumato.models.sd.networks import TextNet, text_encoder, unet
from sfumato.models.unets import layout
from sfumato.pictures.tokenizer import learn_tokenizer
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.recipe import Recipe

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

LEARNED_FROM = 50_000  # captions that the tokenizer is learned from, at most
CHANNELS, ATTENTION = (96, 192), (False, True)


def fresh(
    recipe: Recipe, autoencoder: AutoencoderKL, captions: Sequence[str], shape: tuple[int, int, int],
    device: torch.device, precision: str, base: LatentModel | None = None, **facts: Any,
) -> LatentModel:  # fmt: skip
    """The untrained model of a recipe of the task `text`, with random weights by `train.seed`.

    autoencoder: is frozen, and becomes a part of the network, so that checkpoints are complete; captions: the tokenizer
    is learned from them; shape: (3, H, W) of the pictures; base: its tokenizer is used instead; facts: other fields.
    Raises UserError if the values of `net` do not fit together, or the base is of another family.
    """
    schedule = schedule_of(recipe.noise)
    if not isinstance(schedule, Discrete):
        raise TypeError("`settle` lets only schedules with timesteps pass")
    if base is not None and not isinstance(base.net, TextNet):
        raise UserError(f"train.begin={recipe.train.begin} is of another family: name a model of Stable Diffusion")
    net, text = recipe.net, recipe.text
    tokenizer = base.tokenizers[0] if base is not None else None
    if tokenizer is None:
        tokenizer = learn_tokenizer(captions[:LEARNED_FROM], text.words, text.length)
    factor = 2 ** (len(autoencoder.config.block_out_channels) - 1)
    torch.manual_seed(recipe.train.seed)
    try:
        made = TextNet(
            unet(shape[1] // factor, autoencoder.config.latent_channels, net.channels or CHANNELS,
                 net.attention or ATTENTION, net.blocks or 1, text.width),
            text_encoder(len(tokenizer), text.length, text.width, text.layers),
            schedule,
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"net: {' '.join(str(error).split())[:200]}") from error
    made.unet.to(memory_format=layout(device))
    made.vae = autoencoder.requires_grad_(False).eval()
    return LatentModel(
        net=made, family=SD, vocabulary=Vocabulary("words", [], text.length), shape=shape, schedule=schedule,
        prediction=recipe.noise.prediction, defaults=unclipped(recipe.sample), source=recipe.data.source,
        recipe=recipe, device=str(device), precision=precision, autoencoder=autoencoder, tokenizers=(tokenizer,),
        **facts,
    )  # fmt: skip
