"""Conditions as vectors: of one label, or of the words of a caption."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TokenTable(nn.Module):
    """A learned table of `vocabulary` words at `length` places; token 0 means no condition.

    A word's vector is multiplied elementwise by that of its place, so that "a red circle on a blue background" and "a
    blue circle on a red background" differ in the sum too. Returns the sum (N, width), for every block, and the
    products (N, length, width), for cross-attention. With length 1 this is a table of classes.
    """

    def __init__(self, vocabulary: int, length: int, width: int) -> None:
        super().__init__()
        self.length = length
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.randn(length, width) if length > 1 else torch.ones(1, width))
        self.leave = nn.Linear(width, width)

    def forward(self, tokens: Tensor | None, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """tokens: (N, length), or None for no condition. Raises ValueError for another shape."""
        if tokens is None:
            tokens = torch.zeros(n, self.length, dtype=torch.long, device=device)
        if tokens.shape != (n, self.length):
            raise ValueError(f"the condition must be ({n}, {self.length}) tokens, not {tuple(tokens.shape)}")
        bound = self.words(tokens) * self.places
        return self.leave(bound.sum(1) * self.length**-0.5), bound
