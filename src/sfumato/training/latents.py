"""The pictures of a store as latents, encoded once and cached."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sfumato.device import Policy
from sfumato.errors import UserError
from sfumato.files import aside, save_tensors
from sfumato.models.unets import layout
from sfumato.pictures.cache import cache_folder
from sfumato.pictures.drawn.emoji.drawn import Drawn
from sfumato.pictures.pixels import from_uint8
from sfumato.pictures.stored import Pictures, Store
from sfumato.progress import Stages

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

BATCH, BATCH_GPU = 64, 512


def encoded(store: Store, vae: nn.Module, precision: str, tell: Stages | None = None) -> Store:
    """The same store with latents, float16 (N, C, h, w), in place of pixels; cached by a hash of pictures and weights.

    On a GPU, which is faster than reading from a disk, they are computed each time and kept in its memory.

    A latent is the mean of the autoencoder's distribution, not scaled; `scale_of` gives the factor.
    tell("encoding", done, total) is called after each batch.
    """
    if _device(vae).type == "cuda":
        return _store(store, _encoded(store, vae, precision, tell))
    address = hashlib.sha256(f"{store.digest} {precision}".encode())
    for key, tensor in sorted(vae.state_dict().items()):
        address.update(key.encode() + tensor.float().cpu().numpy().tobytes())
    path = cache_folder() / "latents" / f"{address.hexdigest()[:32]}.safetensors"
    if not path.is_file():
        with aside(path) as temporary:
            save_tensors(temporary, _encoded(store, vae, precision, tell))
    return _store(store, load_file(path))


def _encoded(store: Store, vae: nn.Module, precision: str, tell: Stages | None) -> dict[str, Tensor]:
    device, parts = _device(vae), {}
    total, done = len(store.train) + len(store.held_out), 0
    for name, pictures in (("train", store.train), ("held_out", store.held_out)):
        pixels = pictures.pixels.to(device) if isinstance(pictures.pixels, Drawn) else pictures.pixels
        rows = []
        for part in pixels.split(BATCH_GPU if device.type == "cuda" else BATCH):
            rows.append(_means(vae, part, precision))
            done += len(part)
            if tell is not None:
                tell("encoding", done, total)
        parts[name] = torch.cat(rows)
    return parts


def _store(store: Store, latents: dict[str, Tensor]) -> Store:
    train, held_out = (_with(getattr(store, name), latents[name]) for name in ("train", "held_out"))
    _, channels, height, width = latents["train"].shape
    return Store(train, held_out, store.digest, store.report, (channels, height, width))


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


@torch.inference_mode()
def _means(vae: nn.Module, pixels: Tensor, precision: str) -> Tensor:
    device = _device(vae)
    x = from_uint8(pixels.to(device)).contiguous(memory_format=layout(device))
    with Policy.of(precision).autocast_autoencoder(device):
        mean: Tensor = vae.encode(x).latent_dist.mean  # type: ignore[operator]
    return mean.to(torch.float16).contiguous()


def _with(pictures: Pictures, latents: Tensor) -> Pictures:
    return Pictures(latents, pictures.labels, pictures.label_names, pictures.captions, pictures.keys)


def check_sides(source: str, shape: tuple[int, int, int], vae: AutoencoderKL, piece: int | None = None) -> None:
    """Raises UserError if an autoencoder does not take pictures of shape (C, H, W), or pieces of `piece` pixels a side.

    vae: of diffusers; source: of the pictures, for the message.
    """
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    if shape[0] != vae.config.in_channels:
        raise UserError(f"{source} has grey pictures, but autoencoders need RGB: set data.grey=false")
    for key, side in (("data.image_size", shape[1]), ("data.image_size", shape[2]), ("net.piece", piece or factor)):
        if side % factor:
            raise UserError(f"{key}: sides must be multiples of {factor} for this autoencoder, not {side}")


def scale_of(latents: Tensor) -> float:
    """The factor that gives latents the variance 1: the inverse of their standard deviation over all channels."""
    return 1 / float(latents.float().std())


def autoencoder_named(name: str, key: str) -> AutoencoderKL:
    """The autoencoder of a run of the task `autoencoder`, or of a text-to-image model; key: of the recipe that names
    it. Raises UserError.
    """
    from sfumato.models.reading import find
    from sfumato.models.sd.checkpoint import autoencoder_of

    try:
        return autoencoder_of(*find(name))
    except UserError as error:
        raise UserError(f"{key}: {error}; `sfumato train mini-autoencoder` trains one") from error
