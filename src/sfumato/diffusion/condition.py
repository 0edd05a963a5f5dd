"""Conditions: named tensors, one row per picture, that a model receives beside the noisy picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """Named tensors, each (N, ...), such as "tokens" of labels and captions or "states" of a text encoder.

    A network receives them as keyword arguments, `net(x, c, **condition.tensors)`. Samplers, guidance and losses only
    pass the condition on. Raises ValueError if there are no tensors, or if they differ in N.
    """

    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        rows = {len(tensor) for tensor in self.tensors.values()}
        if len(rows) != 1:
            shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in self.tensors.items())
            raise ValueError(f"the tensors of a condition have one number of rows, not {shapes or 'none'}")

    @classmethod
    def of(cls, **tensors: Tensor) -> Condition:
        """The condition of tensors that are given by name. Raises ValueError as the class."""
        return cls(tensors)

    def __len__(self) -> int:
        """The number of rows N."""
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, rows: slice | Tensor) -> Condition:
        """The condition of some rows, chosen by a slice or by indices, int64 (M,)."""
        return Condition({
            name: tensor[rows.to(tensor.device) if isinstance(rows, Tensor) else rows]
            for name, tensor in self.tensors.items()
        })  # fmt: skip

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return next(iter(self.tensors.values())).device

    def to(self, device: torch.device | str) -> Condition:
        """The same condition on a device."""
        return Condition({name: tensor.to(device) for name, tensor in self.tensors.items()})

    def repeat(self, n: int) -> Condition:
        """A condition of n rows, of which row k is this one's row k mod N. A single row is expanded without a copy."""
        if len(self) == n:
            return self
        if len(self) == 1:
            return Condition({name: tensor.expand(n, *tensor.shape[1:]) for name, tensor in self.tensors.items()})
        return self[torch.arange(n) % len(self)]

    @staticmethod
    def cat(parts: Sequence[Condition]) -> Condition:
        """The rows of all parts, one part after the other. Raises ValueError if the names of their tensors differ."""
        names = [set(part.tensors) for part in parts]
        if any(each != names[0] for each in names):
            raise ValueError(
                f"conditions of {' and '.join(str(sorted(each)) for each in names)} have different tensors"
            )
        return Condition({name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors})


def tensors_of(cond: Condition | None) -> dict[str, Tensor]:
    """The tensors of a condition as keyword arguments of a network; empty for None."""
    return {} if cond is None else dict(cond.tensors)
