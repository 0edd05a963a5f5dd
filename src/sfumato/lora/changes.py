"""Changes of one weight W (out, in, ...): LoRA, LoHa, LoKr, and full changes.

Each says its product, a matrix in the weight's shape or with all but its rows flattened. The change is scale * product;
with DoRA's magnitudes, the changed weight is then given their norms.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Self

import torch
from torch import Tensor

SMALLEST = 1e-12  # norm of a row or column of a weight, so that one of zeros stays zeros


@dataclass(frozen=True, kw_only=True)
class Change(ABC):
    """The change of one weight.

    scale: factor of the product; magnitude: of DoRA (Liu et al. 2024, eq. 5), (out,) or (out, 1, ...), the norms that
    the rows of the changed weight get, or (1, in, 1, ...), those that its columns get; None without DoRA.
    """

    scale: float = 1.0
    magnitude: Tensor | None = None

    @abstractmethod
    def product(self) -> Tensor:
        """The unscaled change."""

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by their names."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in own.items() if isinstance(value, Tensor)}

    def on(self, device: torch.device | str) -> Self:
        """The same on a device, in float32."""
        moved = copy.copy(self)
        for name, tensor in self.tensors().items():
            object.__setattr__(moved, name, tensor.to(device, torch.float32))  # the copy is new: nobody has it yet
        return moved

    @property
    def shape(self) -> tuple[int, ...]:
        """The product's shape, found without computing it. Raises RuntimeError if the factors do not fit together."""
        return tuple(self.on("meta").product().shape)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a weight of a shape can be changed by the product: its shape, or a matrix of its rows."""
        own = self.shape
        rows = own[:1] == shape[:1] and own[0] * _count(own[1:]) == shape[0] * _count(shape[1:])
        return own == shape or (rows and 2 in (len(own), len(shape)))

    def delta(self, weight: Tensor) -> Tensor:
        """The change of the weight, in its shape, float32."""
        here = self.on(weight.device)
        change = self.scale * here.product().reshape(weight.shape)
        if here.magnitude is None:
            return change
        whole = weight.float() + change
        along = along_rows(here.magnitude, tuple(weight.shape))
        others = [dim for dim in range(whole.ndim) if dim != (0 if along else 1)]
        norm = whole.square().sum(others, keepdim=True).sqrt().clamp_min(SMALLEST)
        return whole * (here.magnitude.reshape(norm.shape) / norm) - weight.float()


def along_rows(magnitude: Tensor, shape: tuple[int, ...]) -> bool | None:
    """Whether magnitudes are one for each row of a weight (True) or each column (False); None if they fit neither.

    LyCORIS writes both: (out, 1, ...) with its setting `wd_on_output`, (1, in, 1, ...) without.
    """
    if magnitude.ndim and magnitude.numel() == shape[0] == len(magnitude):
        return True
    columns = magnitude.ndim > 1 and len(shape) > 1 and len(magnitude) == 1
    return False if columns and magnitude.numel() == magnitude.shape[1] == shape[1] else None


def _count(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


@dataclass(frozen=True)
class Piece(Change):
    """The change of LoRA (Hu et al. 2021, eq. 3): scale * up @ down, of a convolution the product of three.

    down: (rank, in, ...); up: (out, rank) or (out, rank, 1, 1); scale: alpha / rank, or alpha / sqrt(rank) if
    rank-stabilised (Kalajdzievski 2023); mid: (rank, rank, h, w) of a convolution's kernel in Tucker's form, up and
    down then have kernels of one pixel (LyCORIS, Yeh et al. 2023, section 3.1), or None.
    """

    down: Tensor
    up: Tensor
    mid: Tensor | None = field(default=None, kw_only=True)

    @property
    def rank(self) -> int:
        return len(self.down)

    def product(self) -> Tensor:
        if self.mid is not None:
            return torch.einsum("mnhw,om,ni->oihw", self.mid, self.up.flatten(1), self.down.flatten(1))
        return (self.up.flatten(1) @ self.down.flatten(1)).unflatten(1, self.down.shape[1:])


@dataclass(frozen=True)
class LoHa(Change):
    """The change of LoHa: scale * (a1 @ b1) * (a2 @ b2), a product of elements (FedPara, Hyeon-Woo et al. 2022, eq. 1;
    LyCORIS, Yeh et al. 2023, section 3.2). scale: alpha / rank.

    a1, a2: (out, rank); b1, b2: (rank, in times kernel). In Tucker's form (FedPara, proposition 2) t1, t2: (rank, rank,
    h, w), a1, a2: (rank, out), b1, b2: (rank, in).
    """

    a1: Tensor
    b1: Tensor
    a2: Tensor
    b2: Tensor
    t1: Tensor | None = None
    t2: Tensor | None = None

    def product(self) -> Tensor:
        return _rebuilt(self.a1, self.b1, self.t1) * _rebuilt(self.a2, self.b2, self.t2)


@dataclass(frozen=True)
class LoKr(Change):
    """The change of LoKr: scale * kron(first, second), Kronecker's product (LyCORIS, Yeh et al. 2023, section 3.3).

    first: (o1, i1), or a1 (o1, rank) @ b1 (rank, i1); second: (o2, i2, ...), or a2 @ b2, or those with the kernel t2 in
    Tucker's form as for LoHa. scale: alpha / rank, 1 if neither matrix is a product.
    """

    first: Tensor | None = None
    second: Tensor | None = None
    a1: Tensor | None = None
    b1: Tensor | None = None
    a2: Tensor | None = None
    b2: Tensor | None = None
    t2: Tensor | None = None

    def product(self) -> Tensor:
        first = _factor(self.first, self.a1, self.b1)
        second = _factor(self.second, self.a2, self.b2, self.t2)
        return torch.einsum("ab,cd...->acbd...", first, second).flatten(0, 1).flatten(1, 2)


@dataclass(frozen=True)
class Full(Change):
    """A change that is written in full. full: in the weight's shape. It has no alpha: scale is 1."""

    full: Tensor

    def product(self) -> Tensor:
        return self.full


def _rebuilt(a: Tensor, b: Tensor, t: Tensor | None) -> Tensor:
    """a @ b, or the kernel t between them: the sum over i, j of a[i, o] t[i, j, h, w] b[j, n]."""
    return a @ b if t is None else torch.einsum("ijhw,io,jn->onhw", t, a, b)


def _factor(whole: Tensor | None, a: Tensor | None, b: Tensor | None, t: Tensor | None = None) -> Tensor:
    """One matrix of LoKr. Raises ValueError if it is absent."""
    if whole is not None:
        return whole
    if a is None or b is None:
        raise ValueError("a matrix of LoKr is absent")
    return _rebuilt(a, b, t)
