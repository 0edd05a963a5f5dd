"""Batches for training, the same for a resumed run as for an uninterrupted one."""

from __future__ import annotations

import hashlib
from typing import Protocol

import psutil
import torch
from torch import Tensor

from sfumato.pictures.pixels import from_uint8
from sfumato.pictures.vocabulary import Vocabulary


class Drawable(Protocol):
    """What a feed needs from `store.Pictures`."""

    @property
    def pixels(self) -> Tensor: ...

    def texts(self, kind: str) -> list[str]: ...


class Order:
    """The order of `count` pictures, a pure function of the seed and the number of images seen before.

    Epoch e = images // count is a permutation drawn from (seed, e); a batch may span two epochs.
    """

    def __init__(self, count: int, seed: int, device: torch.device | str = "cpu") -> None:
        self.count, self.seed, self.device = count, seed, torch.device(device)
        self._known: dict[int, Tensor] = {}

    def indices(self, images: int, batch: int) -> Tensor:
        """The batch that follows `images` images seen, int64 (batch,) on the device."""
        pieces = []
        while batch > 0:
            epoch, start = divmod(images, self.count)
            pieces.append(self._epoch(epoch)[start : start + batch])
            images, batch = images + len(pieces[-1]), batch - len(pieces[-1])
        return torch.cat(pieces)

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._known:
            self._known = {known: order for known, order in self._known.items() if known == epoch - 1}
            digest = hashlib.blake2b(f"{self.seed}/{epoch}".encode(), digest_size=8).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
            self._known[epoch] = torch.randperm(self.count, generator=generator).to(self.device)
        return self._known[epoch]


class Feed:
    """Pictures and their conditions, batch by batch, in an `Order`.

    Pixels are kept on a GPU as uint8 if they take at most a quarter of its free memory; on a CPU they stay a memory
    map.
    """

    def __init__(
        self,
        pictures: Drawable,
        vocabulary: Vocabulary,
        flip: bool,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.flip = flip
        pixels = pictures.pixels
        self.resident = self.device.type == "cpu" or pixels.numel() <= _free(self.device) / 4
        self._home = self.device if self.resident else torch.device("cpu")
        self._pixels = pixels.to(self._home)
        self._tokens = vocabulary.encode(vocabulary.encodable(pictures.texts(vocabulary.kind))).to(self._home)
        self.order = Order(len(pixels), seed, self._home)

    def __len__(self) -> int:
        return len(self._pixels)

    def draw(self, images: int, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The batch that follows `images` images seen.

        Returns pictures, float32 (batch, C, H, W) in [-1, 1], channels_last, mirrored left to right by coin
        flips of `generator` if `flip` is set; and conditions, int64 (batch, L).
        """
        which = self.order.indices(images, batch)
        picked, tokens = (self._send(part.index_select(0, which)) for part in (self._pixels, self._tokens))
        if self.flip:
            coins = self._send(torch.rand(batch, generator=generator, device=generator.device)) < 0.5
            rows = torch.arange(batch, device=self.device)
            picked = torch.cat([picked, picked.flip(3)]).index_select(0, rows + batch * coins)
        picked = picked.contiguous(memory_format=torch.channels_last)  # while it is uint8, a quarter of the bytes
        pictures = from_uint8(picked)
        return pictures, tokens

    def _send(self, tensor: Tensor) -> Tensor:
        """To the device, without waiting for its queue."""
        return tensor.to(self.device, non_blocking=True)


def _free(device: torch.device) -> int:
    """Free bytes of memory of a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)
