"""Denoisers of other projects as models: EDM's, k-diffusion's, and any function D(x, sigma)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato.diffusion.schedule import LogNormal
from sfumato.errors import listed
from sfumato.models.pixel import PixelModel
from sfumato.nets.net import PictureNet
from sfumato.pictures.vocabulary import Vocabulary

Foreign = Callable[..., Tensor]
More = Callable[[Tensor], tuple[tuple[object, ...], Mapping[str, object]]]
"""Label indices -> the denoiser's arguments after x and sigma: positional ones, and those by name."""


class ForeignNet(PictureNet):
    """D(x, sigma) as a network whose output is the clean picture (prediction `x0`).

    net: called with x (N, C, H, W), pictures in [-1, 1] plus noise of standard deviation sigma (N,), and with the
    arguments that `more` returns for label indices, int64 (N,), 0 for no label.
    """

    def __init__(
        self, net: Foreign, more: Callable[[Tensor], tuple[tuple[object, ...], Mapping[str, object]]], multiple: int
    ):
        super().__init__()
        self.net, self.more, self._multiple = net, more, multiple

    @property
    def multiple(self) -> int:
        return self._multiple

    def forward(self, x: Tensor, c: Tensor, tokens: Tensor | None = None, noisy: Tensor | None = None) -> Tensor:
        sigma = (4 * c).exp()  # c = ln(sigma / alpha) / 4, and x has variance 1
        scale = (1 + sigma.square()).sqrt().view(-1, *[1] * (x.ndim - 1))
        numbers = torch.zeros(len(x), dtype=torch.int64, device=x.device) if tokens is None else tokens[:, 0]
        positional, named = self.more(numbers)
        return self.net(x * scale, sigma, *positional, **named)


def from_edm(
    net: Foreign,
    shape: tuple[int, int, int],
    *,
    labels: Sequence[str] = (),
    sigmas: tuple[float, float] = (0.002, 80.0),
    sigma_data: float = 0.5,
    multiple: int = 8,
    name: str = "edm",
) -> PixelModel:
    """A denoiser with the signature of EDM's networks, `net(x, sigma, class_labels)` -> x0, as a model.

    shape: (C, H, W) of its pictures, in [-1, 1]; labels: names of its classes in their order, passed as one-hot rows
    (N, len(labels)), all 0 for no label; sigmas: the lowest and the highest sigma in sampling; sigma_data: standard
    deviation of its pictures; multiple: sides must be multiples of this. Karras et al. 2022, algorithms 1 and 2.
    """

    def more(numbers: Tensor) -> tuple[tuple[object, ...], Mapping[str, object]]:
        rows = F.one_hot(numbers, len(labels) + 1)[:, 1:].float() if labels else None
        return (rows,), {}

    schedule = LogNormal(sigma_min=sigmas[0], sigma_max=sigmas[1])
    return _model(ForeignNet(net, more, multiple), shape, labels, schedule, sigma_data, name)


def from_k_diffusion(
    denoiser: Foreign,
    shape: tuple[int, int, int],
    *,
    labels: Sequence[str] = (),
    extra: Callable[[Tensor], Mapping[str, object]] | None = None,
    sigmas: tuple[float, float] = (0.002, 80.0),
    sigma_data: float = 0.5,
    multiple: int = 8,
    name: str = "k-diffusion",
) -> PixelModel:
    """A denoiser with the signature of k-diffusion's, `denoiser(x, sigma, **extra)` -> x0, as a model.

    extra: function from label indices, int64 (N,), k + 1 for `labels[k]` and 0 for no label, to the further arguments
    by name. The other parameters are those of `from_edm`.
    """

    def more(numbers: Tensor) -> tuple[tuple[object, ...], Mapping[str, object]]:
        return (), {} if extra is None else extra(numbers)

    schedule = LogNormal(sigma_min=sigmas[0], sigma_max=sigmas[1])
    return _model(ForeignNet(denoiser, more, multiple), shape, labels, schedule, sigma_data, name)


def _model(
    net: ForeignNet,
    shape: tuple[int, int, int],
    labels: Sequence[str],
    schedule: LogNormal,
    sigma_data: float,
    name: str,
) -> PixelModel:
    labels = listed("labels", labels)
    kept = next(net.parameters(), torch.zeros(()))
    vocabulary = Vocabulary("class", labels, 1) if labels else Vocabulary("none", [], 0)
    return PixelModel(
        net=net.eval().requires_grad_(False), vocabulary=vocabulary, shape=shape, schedule=schedule, prediction="x0",
        sigma_data=sigma_data, name=name, device=str(kept.device), precision="fp32",
    )  # fmt: skip
