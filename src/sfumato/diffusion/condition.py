"""Conditions: named tensors, one row per picture, that a model receives beside the noisy picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """Named tensors, each (N, ...), such as "tokens" of labels and captions or "states" of a text encoder.

    A network receives them as keyword arguments, `net(x, c, **condition.tensors)`; samplers, guidance and losses only
    pass them on. Raises ValueError if there are none, or if they differ in N.
    """

    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        rows = {len(tensor) for tensor in self.tensors.values()}
        if len(rows) != 1:
            shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in self.tensors.items())
            raise ValueError(f"the tensors of a condition have one number of rows, not {shapes or 'none'}")

    @classmethod
    def of(cls, **tensors: Tensor) -> Condition:
        return cls(tensors)

    def __len__(self) -> int:
        """The number of rows N."""
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, rows: slice | Tensor) -> Condition:
        """Some rows, by a slice or by indices, int64 (M,)."""
        return Condition({
            name: tensor[rows.to(tensor.device) if isinstance(rows, Tensor) else rows]
            for name, tensor in self.tensors.items()
        })  # fmt: skip

    @property
    def device(self) -> torch.device:
        return next(iter(self.tensors.values())).device

    def to(self, device: torch.device | str) -> Condition:
        return Condition({name: tensor.to(device) for name, tensor in self.tensors.items()})

    def repeat(self, n: int) -> Condition:
        """n rows, of which row k is row k mod N; a single row is not copied."""
        if len(self) == n:
            return self
        if len(self) == 1:
            return Condition({name: tensor.expand(n, *tensor.shape[1:]) for name, tensor in self.tensors.items()})
        return self[torch.arange(n) % len(self)]

    @staticmethod
    def cat(parts: Sequence[Condition]) -> Condition:
        """The rows of all parts in order. Raises ValueError if the names of their tensors differ."""
        names = [set(part.tensors) for part in parts]
        if any(each != names[0] for each in names):
            raise ValueError(
                f"conditions of {' and '.join(str(sorted(each)) for each in names)} have different tensors"
            )
        return Condition({name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors})


def tensors_of(cond: Condition | None) -> dict[str, Tensor]:
    """A condition as keyword arguments of a network; empty for None."""
    return {} if cond is None else dict(cond.tensors)
