"""What turns gradients into steps: AdamW, and Muon for the matrices inside a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.sections import Train as Settings

MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)  # of Jordan et al. 2024: singular values to about 1 in five rounds
ROUNDS = 5
EDGES = ("enter", "leave", "conv_in", "conv_out")  # first and last layers, ours and of diffusers


def optimizer_for(net: nn.Module, settings: Settings, compiled: bool = False) -> torch.optim.Optimizer:
    """As the recipe says."""
    rate: Any = torch.tensor(settings.lr) if compiled else settings.lr
    common = {"lr": rate, "betas": settings.betas, "weight_decay": settings.weight_decay}
    if settings.optimizer == "muon":
        return Muon(net, **common)
    return torch.optim.AdamW(net.parameters(), fused=True, **common)


def orthogonalised(matrix: Tensor) -> Tensor:
    """U V^T of the singular value decomposition U S V^T, roughly: (A, B) -> (A, B).

    Newton and Schulz's iteration with the quintic of Jordan et al. 2024 ("Muon"), which leaves singular values between
    0.7 and 1.2; products of matrices alone, all but two of them of the shorter side only: a round multiplies with a
    polynomial s of the gram matrix, whose own next value is s gram s.
    """
    a, b, c = QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    product = torch.eye(len(x), dtype=x.dtype, device=x.device)
    for _ in range(ROUNDS):
        s = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        s.diagonal().add_(a)
        product = s @ product
        gram = s @ gram @ s
    x = product @ x
    return x.T if tall else x


class Muon(torch.optim.AdamW):
    """Momentum made orthogonal for weights of hidden layers (Jordan et al. 2024), fused AdamW for everything else.

    A convolution's weights count as a matrix of one row an output. Steps are scaled to the size that AdamW's have (Liu
    et al. 2025, "Muon is scalable", eq. 4), so that one learning rate serves both. First and last layers,
    embeddings and vectors are AdamW's.
    """

    def __init__(self, net: nn.Module, **common: Any) -> None:
        hidden = [p for p in _hidden(net) if p.requires_grad]
        known = {id(p) for p in hidden}
        super().__init__([p for p in net.parameters() if id(p) not in known], fused=True, **common)
        self.hidden = hidden

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        group = self.param_groups[0]
        bad = getattr(self, "found_inf", None)
        rate = group["lr"] if bad is None else torch.where(bad > 0, 0.0, group["lr"])  # on the device, without waiting
        for p in self.hidden:
            if p.grad is None:
                continue
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            momentum = state["momentum"]
            gradient = p.grad if bad is None else torch.where(bad > 0, momentum, p.grad)
            momentum.lerp_(gradient, 1 - MOMENTUM)
            update = orthogonalised(gradient.lerp(momentum, MOMENTUM).flatten(1))
            size = rate * 0.2 * math.sqrt(max(update.shape))
            if group["weight_decay"]:
                p.mul_(1 - rate * group["weight_decay"])
            p.sub_(update.mul_(size).view(p.shape))
        return super().step(closure)

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
