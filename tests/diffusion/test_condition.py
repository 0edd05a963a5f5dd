"""Conditions: rows of named tensors that go through the heart as they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Preconditioned, conditioned
from sfumato.diffusion.guidance import Guided
from sfumato.diffusion.level import Level


def both(n: int) -> Condition:
    return Condition.of(states=torch.arange(6.0 * n).view(n, 3, 2), pooled=torch.arange(float(n))[:, None])


def test_rows_are_taken_repeated_and_joined_in_every_tensor() -> None:
    cond = both(3)
    assert len(cond) == 3
    assert cond[torch.tensor([2, 0])].tensors["pooled"].flatten().tolist() == [2, 0]
    assert cond[1:].tensors["states"].shape == (2, 3, 2)
    assert cond.repeat(5).tensors["pooled"].flatten().tolist() == [0, 1, 2, 0, 1]
    assert cond[:1].repeat(4).tensors["states"].shape == (4, 3, 2)
    assert Condition.cat([cond, cond[:1]]).tensors["pooled"].flatten().tolist() == [0, 1, 2, 0]


def test_tensors_of_unequal_rows_or_of_other_names_are_refused() -> None:
    with pytest.raises(ValueError, match="one number of rows"):
        Condition.of(states=torch.zeros(2, 3), pooled=torch.zeros(3, 1))
    with pytest.raises(ValueError, match="none"):
        Condition({})
    with pytest.raises(ValueError, match="have different tensors"):
        Condition.cat([both(1), Condition.of(tokens=torch.zeros(1, 4))])


def test_every_named_tensor_reaches_the_network_through_guidance() -> None:
    seen: list[tuple[int, int]] = []

    def net(x: Tensor, c: Tensor, *, states: Tensor, pooled: Tensor) -> Tensor:
        seen.append((len(states), len(pooled)))
        return x + pooled.view(-1, 1, 1, 1)

    denoiser = Guided(Preconditioned(conditioned(net), "x0"), 2.0, both(1))
    x = torch.zeros(3, 1, 2, 2)
    out = denoiser(x, Level.of(1.0), both(3))
    assert seen == [(6, 6)]
    assert out[:, 0, 0, 0].tolist() == [0.0, 2.0, 4.0]  # null is 0, so twice the condition
