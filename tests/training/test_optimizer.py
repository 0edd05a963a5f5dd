"""Muon: orthogonal steps for hidden layers, AdamW for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato.recipe.sections import Train
from sfumato.training.optimizer import Muon, optimizer_for, orthogonalised


class Net(nn.Module):
    """Three layers by the names that our networks give them."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.middle, self.leave = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.leave(self.middle(self.enter(x)).relu())


@pytest.mark.parametrize("shape", [(20, 20), (16, 144), (144, 16)])
def test_singular_values_come_near_to_one_and_the_vectors_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn((3, *shape), dtype=torch.float64)
    for matrix, done, fast in zip(
        matrices, orthogonalised(matrices), orthogonalised(matrices, torch.bfloat16), strict=True
    ):
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        seen = torch.diagonal(u.T @ done @ v.T)
        assert torch.allclose(u @ torch.diag(seen) @ v, done, atol=1e-9)
        assert (seen[s > s.max() / 50] > 0.6).all()
        assert (seen < 1.3).all()
        assert (fast - done).norm() < 0.03 * done.norm()


def test_steps_are_as_long_as_those_of_adamw() -> None:
    """Liu et al. 2025: root mean square 0.2 x lr for a matrix of full rank."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 256))
    before = net[0].weight.detach().clone()
    optimizer = Muon(net, lr=0.01, weight_decay=0.0)
    net(torch.randn(512, 64)).square().sum().backward()
    optimizer.step()
    moved = (net[0].weight - before).square().mean().sqrt()
    assert 0.5 < moved / (0.2 * 0.01 * (256 / 64) ** 0.5 / 2) < 1.5


def test_edges_and_vectors_are_stepped_by_adamw() -> None:
    torch.manual_seed(0)
    net, other = Net(), Net()
    other.load_state_dict(net.state_dict())
    optimizers = [optimizer_for(n, Train(optimizer=kind)) for n, kind in ((net, "muon"), (other, "adamw"))]
    x = torch.randn(2, 3, 9, 9)
    for n, optimizer in zip((net, other), optimizers, strict=True):
        n(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert all(p.grad is None for p in n.parameters())
    same = {name: torch.equal(p, other.get_parameter(name)) for name, p in net.named_parameters()}
    assert same == {name: name != "middle.weight" for name in same}


def test_a_step_with_a_bad_gradient_changes_nothing() -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = optimizer_for(net, Train(optimizer="muon"))
    for value in (1.0, float("nan")):
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        optimizer.zero_grad()
        (net(torch.randn(2, 3, 9, 9)).mean() * value).backward()
        optimizer.grad_scale = None
        optimizer.found_inf = torch.tensor(0.0 if value == 1 else 1.0)
        optimizer.step()
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
    assert all(torch.isfinite(state["momentum"]).all() for state in optimizer.state.values() if "momentum" in state)


def test_it_goes_down() -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = optimizer_for(net, Train(optimizer="muon", lr=0.01))
    x = torch.randn(8, 3, 9, 9)
    losses = []
    for _ in range(60):
        loss = (net(x) - x[..., 3:-3, 3:-3]).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 3
