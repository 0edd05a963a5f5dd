"""The gauge: it learns to read a level, and either network may carry one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato.nets.gauge import FLOOR, NoiseGauge, PlaceGauge
from sfumato.nets.plain import PlainConfig, PlainUNet
from sfumato.nets.unet import UNet, UNetConfig

from ..tiny import shaken


@pytest.mark.parametrize(
    "carrier",
    [PlainUNet(PlainConfig((8, 8), 1, 2, gauge=True)), UNet(UNetConfig((16, 16), 1, (False, True), 2, gauge=True))],
)
def test_what_a_network_says_beside_what_its_gauge_reads(carrier: nn.Module) -> None:
    shaken(carrier)
    x, c, noisy = torch.randn(3, 3, 8, 8), torch.zeros(3), torch.randn(3, 3, 8, 8)
    out, read = carrier(x, c, None, noisy)
    assert torch.equal(out, carrier(x, c))
    assert read.shape == (3,)
    assert torch.allclose(read[1:2], carrier(x[1:2], c[1:2], None, noisy[1:2])[1], atol=1e-5)


@pytest.mark.parametrize(("kind", "most"), [(NoiseGauge, 0.05), (PlaceGauge, 0.1)])
def test_a_gauge_can_learn(kind: type[nn.Module], most: float) -> None:
    torch.manual_seed(0)
    gauge = kind(3, 8)
    optimizer = torch.optim.Adam(gauge.parameters(), 5e-3)
    for _ in range(150):
        log = torch.rand(32) * 3 - 2.5
        loss = (gauge(log.exp().view(-1, 1, 1, 1) * torch.randn(32, 3, 8, 8)) - log).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < most


def test_parts_of_a_picture_make_up_the_whole() -> None:
    """Votes of halves that see nothing of each other add up to the picture's, edges aside."""
    gauge = PlaceGauge(3, 8).double()
    x = torch.randn(2, 3, 16, 2048, dtype=torch.float64)
    halves = [gauge.votes(part) for part in x.chunk(2, 3)]
    votes = sum(halves)
    assert torch.allclose(votes[:, 0] / votes[:, 1], gauge(x), atol=0.02)
    assert torch.allclose(votes, gauge.votes(x), rtol=0.05)
    assert not torch.allclose(halves[0], halves[1], rtol=1e-4)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0, 30.0])
def test_a_gauge_is_finite_on_pictures_without_noise(value: float) -> None:
    gauge = PlaceGauge()
    for seed in range(3):
        read = shaken(gauge, seed)(torch.full((1, 3, 16, 24), value))
        assert read.isfinite().all()
        assert (read >= FLOOR).all()


def test_a_gauge_of_earlier_versions_is_loaded() -> None:
    earlier, now = (PlainUNet(PlainConfig((8, 8), 1, 2, gauge=True)) for _ in range(2))
    earlier.gauge = NoiseGauge()
    shaken(earlier)
    now.load_state_dict(earlier.state_dict())
    x, c = torch.randn(2, 3, 8, 8), torch.zeros(2)
    assert torch.equal(now(x, c, None, x)[1], earlier(x, c, None, x)[1])
    now.load_state_dict(now.state_dict())
