"""Pictures are cut to the thing, wherever it lies and however large it is."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.tuning.photos.subject import GREY, bare, cut, find


def block(top: int, left: int, side: int) -> np.ndarray:
    """Noise in a square on grey, uint8 (3, 64, 64)."""
    picture = np.full((3, 64, 64), 128, np.uint8)
    picture[:, top : top + side, left : left + side] = np.random.default_rng(0).integers(0, 256, (3, side, side))
    return picture


@given(st.integers(0, 40), st.integers(0, 40), st.integers(14, 24))
def test_the_thing_is_found(top: int, left: int, side: int) -> None:
    box = find(block(top, left, side))
    wanted = (top, top + side, left, left + side)
    for found, true in zip((box.top, box.bottom, box.left, box.right), wanted, strict=True):
        assert abs(64 * found - true) <= 2


def test_cuts_of_one_thing_are_one_picture_wherever_it_lies() -> None:
    places = ((2, 3), (20, 20), (40, 38), (0, 42))
    cuts = cut(torch.from_numpy(np.stack([block(*place, 22) for place in places]))).float()
    plain = torch.from_numpy(np.stack([block(*place, 22) for place in places])).float()
    assert cuts.shape == (4, 3, 64, 64)
    assert (cuts[0] - cuts[1]).abs().mean() < 0.3 * (plain[0] - plain[1]).abs().mean()
    grey = (cuts - 128).abs().amax(1) < 8
    assert grey.float().mean() < 0.25


def test_a_plain_background_is_painted_over_and_another_is_left() -> None:
    thing = block(20, 20, 20)
    on_red = np.where((thing == 128).all(0), np.array([220, 30, 40], np.uint8)[:, None, None], thing)
    found = bare(on_red)
    assert (found[:, 0] == GREY).all()
    inside = found[:, 21:39, 21:39]
    assert (inside == on_red[:, 21:39, 21:39]).mean() > 0.9
    photo = np.random.default_rng(1).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    assert np.array_equal(bare(photo), photo)
