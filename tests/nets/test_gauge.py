"""The gauge: it learns to read a level, and either network may carry one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato.nets.gauge import NoiseGauge
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


def test_a_gauge_can_learn() -> None:
    torch.manual_seed(0)
    gauge = NoiseGauge(3, 8)
    optimizer = torch.optim.Adam(gauge.parameters(), 5e-3)
    for _ in range(150):
        log = torch.rand(32) * 3 - 2.5
        loss = (gauge(log.exp().view(-1, 1, 1, 1) * torch.randn(32, 3, 8, 8)) - log).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05
