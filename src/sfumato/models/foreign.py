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
"""A function from label indices, int64 (N,), to the denoiser's positional and keyword arguments after x and sigma."""


class ForeignNet(PictureNet):
    """A denoiser D(x, sigma) as a network whose output is the clean picture (prediction `x0`).

    net: called with x, (N, C, H, W), pictures in [-1, 1] plus noise of standard deviation sigma; with sigma, (N,); and
    with the arguments that `more` returns for label indices, int64 (N,), 0 for no label. multiple: the sides of
    pictures must be multiples of this.
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
    """A model of a denoiser that is called as EDM's networks, `net(x, sigma, class_labels)` -> x0 (Karras et al. 2022).

    Args:
        net: The denoiser. x: (N, C, H, W), pictures in [-1, 1] plus noise of standard deviation sigma, (N,);
            class_labels: None, or one-hot rows, float32 (N, len(labels)), all 0 for no label.
        shape: (C, H, W) of its pictures.
        labels: Names of its classes in their order.
        sigmas: The lowest and the highest sigma in sampling.
        sigma_data: Standard deviation of its pictures.
        multiple: The sides of pictures must be multiples of this.
        name: The model's name in messages and reports.
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
    """A model of a denoiser that is called as k-diffusion's, `denoiser(x, sigma, **extra)` -> x0.

    Args:
        denoiser: The denoiser. x and sigma as for `from_edm`.
        extra: A function from label indices, int64 (N,), to the further keyword arguments; label index k + 1 is
            `labels[k]`, and 0 is no label.

    All other arguments are those of `from_edm`.
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
