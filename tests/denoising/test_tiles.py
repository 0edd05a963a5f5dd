"""Tiles make the picture that the whole makes, whatever its size and theirs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sfumato.denoising.tiles import Tiled
from sfumato.diffusion.denoiser import Preconditioned, conditioned
from sfumato.diffusion.level import Level
from sfumato.nets.plain import PlainConfig, PlainUNet

from ..tiny import shaken

CONFIG = PlainConfig((8, 8), 1, 2)
NET = shaken(PlainUNet(CONFIG))
PLAIN = Preconditioned(conditioned(NET), "edm")


def whole(y: Tensor, level: Level) -> Tensor:
    bottom, right = (-side % CONFIG.multiple for side in y.shape[-2:])
    pad = lambda t: torch.from_numpy(np.pad(t.numpy(), ((0, 0), (0, 0), (0, bottom), (0, right)), "reflect"))  # noqa: E731
    level = Level(pad(level.alpha), pad(level.sigma)) if level.sigma.ndim == 4 else level
    with torch.inference_mode():
        return PLAIN(pad(y), level)[..., : y.shape[-2], : y.shape[-1]]


@settings(max_examples=30)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 60), st.booleans())
def test_tiles_are_the_whole(height: int, width: int, tile: int, mapped: bool) -> None:
    y = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(height * width))
    level = Level.of(torch.linspace(0.1, 1, height * width).view(1, 1, height, width) if mapped else 0.3)
    with torch.inference_mode():
        done = Tiled(PLAIN, CONFIG.reach, CONFIG.multiple, tile)(y, level)
    assert (done - whole(y, level)).abs().max() < 1e-4


def test_a_halo_that_is_too_small_shows() -> None:
    """The check above can fail."""
    y = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        done = Tiled(PLAIN, 4, CONFIG.multiple, 16)(y, Level.of(0.3))
    assert (done - whole(y, Level.of(0.3))).abs().max() > 1e-3


def test_progress_counts_tiles() -> None:
    told: list[tuple[int, int]] = []
    with torch.inference_mode():
        Tiled(PLAIN, CONFIG.reach, 4, 16, lambda *at: told.append(at))(torch.zeros(1, 3, 20, 40), Level.of(0.3))
    assert told == [(k, 6) for k in range(1, 7)]


@pytest.mark.parametrize("size", [(1, 1), (17, 1), (3, 200)])
def test_slivers(size: tuple[int, int]) -> None:
    with torch.inference_mode():
        done = Tiled(PLAIN, CONFIG.reach, CONFIG.multiple)(torch.rand(1, 3, *size), Level.of(0.3))
    assert done.shape == (1, 3, *size)
    assert done.isfinite().all()
