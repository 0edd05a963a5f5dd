"""The plain U-Net: how far it sees, maps of levels, and what it is told."""

from __future__ import annotations

import pytest
import torch

from sfumato.nets.plain import PlainConfig, PlainUNet

from ..tiny import shaken

SMALL = PlainConfig((8, 16, 16), 1, 2)


def net(config: PlainConfig = SMALL) -> PlainUNet:
    torch.manual_seed(0)
    made = PlainUNet(config)
    shaken(made)
    return made


@pytest.mark.parametrize("config", [SMALL, PlainConfig((8, 8), 2, 2), PlainConfig((8,), 1, 4, colours=1)])
def test_nothing_beyond_its_reach_is_seen(config: PlainConfig) -> None:
    made, side = net(config).double(), 4 * config.reach // config.multiple * config.multiple
    x = torch.randn(1, config.colours, side, side, dtype=torch.float64, requires_grad=True)
    c = torch.full((1, 1, side, side), -0.2, dtype=torch.float64, requires_grad=True)
    middle = side // 2
    made(x, c)[0, :, middle, middle].sum().backward()
    for input_ in (x, c):
        touched = input_.grad.abs().sum((0, 1)).nonzero()
        far = int((touched - middle).abs().max())
        assert 0.3 * config.reach < far <= config.reach


def test_an_even_map_is_a_number() -> None:
    made, x = net(), torch.randn(2, 3, 16, 24)
    c = torch.tensor([-0.3, 0.2])
    even = c.view(2, 1, 1, 1).expand(2, 1, 16, 24)
    assert torch.allclose(made(x, c), made(x, even), atol=1e-6)
    assert not torch.allclose(made(x, c), made(x, c.flip(0)), atol=1e-3)


def test_what_it_is_told() -> None:
    made = net(PlainConfig((8, 8), 1, 2, vocabulary=3))
    x, c = torch.randn(2, 3, 8, 8), torch.zeros(2)
    nothing, first, second = (made(x, c, torch.full((2, 1), k)) for k in range(3))
    assert torch.equal(made(x, c), nothing)
    assert not torch.allclose(nothing, first, atol=1e-3)
    assert not torch.allclose(first, second, atol=1e-3)


def test_sides_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="12 x 8 is not a multiple of 8"):
        net()(torch.zeros(1, 3, 12, 8), torch.zeros(1))
