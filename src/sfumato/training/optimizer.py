"""Optimisers: AdamW, and Muon for the hidden layers of a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.files import Json
from sfumato.recipe.sections import Train as Settings

MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)  # of Jordan et al. 2024: singular values to about 1 in five rounds
ROUNDS = 5
EDGES = ("enter", "leave", "conv_in", "conv_out")  # names of first and last layers, ours and diffusers'


def optimizer_for(net: nn.Module, settings: Settings, precision: str | None = None) -> torch.optim.Optimizer:
    """The recipe's optimiser; precision: of the run, "bf16" if the hardware is faster in it."""
    common: Json = {"lr": settings.lr, "betas": settings.betas, "weight_decay": settings.weight_decay}
    if settings.optimizer == "muon":
        return Muon(net, torch.bfloat16 if precision == "bf16" else None, **common)
    return torch.optim.AdamW(net.parameters(), fused=True, **common)


def orthogonalised(matrices: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """U V^T of each singular value decomposition U S V^T, roughly: (N, A, B) -> (N, A, B).

    Newton and Schulz's iteration with the quintic of Jordan et al. 2024 ("Muon"), which leaves singular values between
    0.7 and 1.2; products of matrices alone, done in `dtype`, which may be bfloat16.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)).to(dtype or x.dtype)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.AdamW):
    """Momentum made orthogonal for weights of hidden layers (Jordan et al. 2024), fused AdamW for everything else.

    A convolution's weights count as a matrix of one row an output; matrices of one shape go together. Steps are scaled
    to the size that AdamW's have (Liu et al. 2025, "Muon is scalable", eq. 4), so that one learning rate serves both.
    First and last layers, embeddings and vectors are AdamW's.
    """

    def __init__(self, net: nn.Module, dtype: torch.dtype | None = None, **common: Any) -> None:
        hidden = [p for p in _hidden(net) if p.requires_grad]
        known = {id(p) for p in hidden}
        super().__init__([p for p in net.parameters() if id(p) not in known], fused=True, **common)
        self.dtype, self.hidden = dtype, hidden
        self.alike: dict[tuple[int, ...], list[Tensor]] = {}
        for p in hidden:
            self.alike.setdefault(tuple(p.flatten(1).shape), []).append(p)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        group = self.param_groups[0]
        bad = getattr(self, "found_inf", None)
        rate = group["lr"] if bad is None else torch.where(bad > 0, 0.0, group["lr"])  # on the device, without waiting
        moments = self._moments(bad)
        for shape, alike in self.alike.items():
            learned = [p for p in alike if p in moments]
            if not learned:
                continue
            updates = orthogonalised(torch.stack([moments[p].flatten(1) for p in learned]), self.dtype)
            updates.mul_(rate * 0.2 * math.sqrt(max(shape)))
            if group["weight_decay"]:
                torch._foreach_mul_(learned, 1 - rate * group["weight_decay"])
            torch._foreach_sub_(learned, [u.reshape(p.shape) for p, u in zip(learned, updates, strict=True)])
        return super().step(closure)

    def _moments(self, bad: Tensor | None) -> dict[Tensor, Tensor]:
        """Nesterov's, of each weight that has a gradient: the gradient, led by the running mean of gradients."""
        learned = [p for p in self.hidden if p.grad is not None]
        if not learned:
            return {}
        for p in learned:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        means = [self.state[p]["momentum"] for p in learned]
        gradients = [p.grad for p in learned if p.grad is not None]
        if bad is not None:
            gradients = [torch.where(bad > 0, m, g) for m, g in zip(means, gradients, strict=True)]
        torch._foreach_lerp_(means, gradients, 1 - MOMENTUM)
        return dict(zip(learned, torch._foreach_lerp(gradients, means, MOMENTUM), strict=True))

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for p in self.hidden:
            p.grad = None


def _hidden(net: nn.Module) -> list[Tensor]:
    """Weights of linear and convolutional layers but the first and the last of a network."""
    return [
        module.weight
        for name, module in net.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and name.rpartition(".")[2] not in EDGES
    ]
