from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.pictures.crop import channels, fit, tiles
from sfumato.pictures.decode import PictureError
from tests.pictures.picture_files import photo


def test_fit_keeps_pixels_that_need_no_resizing() -> None:
    picture = photo(32, 32)
    assert fit(picture, (32, 32)) is picture
    wide = photo(32, 50)
    assert np.array_equal(fit(wide, (32, 32)), wide[:, 9:41])


def test_fit_is_antialiased_centred_and_does_not_squash() -> None:
    stripes = np.zeros((512, 512, 1), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fit(stripes, (32, 32)).astype(int) - 127).max() <= 4  # point sampling would give 0 or 255
    y, x = np.mgrid[0:300, 0:600]
    disc = (((y - 149.5) ** 2 + (x - 299.5) ** 2 < 100**2) * 255).astype(np.uint8)[..., None]
    small = fit(disc, (60, 60))[..., 0] > 127
    assert abs(small.any(0).sum() - 40) <= 1
    assert abs(small.any(1).sum() - 40) <= 1
    assert np.array_equal(small, small[::-1])
    assert np.array_equal(small, small[:, ::-1])


@settings(max_examples=60)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(8, 64), st.integers(8, 64), st.sampled_from([1, 3]))
def test_any_size_fits_any_size(height: int, width: int, tall: int, wide: int, bands: int) -> None:
    picture = np.full((height, width, bands), 77, np.uint8)
    assert np.array_equal(fit(picture, (tall, wide)), np.full((tall, wide, bands), 77, np.uint8))
    if max(height, width) <= 50 * min(height, width):
        pieces = tiles(picture, (tall, wide))
        assert pieces.shape[1:] == (tall, wide, bands)
        assert (pieces == 77).all()


def test_fit_survives_a_picture_one_pixel_high() -> None:
    assert fit(np.zeros((1, 200_000, 3), np.uint8), (64, 64)).shape == (64, 64, 3)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (100, 100), (128, 128), (100, 130), (120, 65)])
def test_tiles_of_a_picture_that_is_not_scaled_cover_it(height: int, width: int) -> None:
    picture = np.arange(height * width, dtype=np.uint32).reshape(height, width)
    coded = np.stack([picture >> 16, picture >> 8, picture], 2).astype(np.uint8)
    pieces = tiles(coded, (64, 64)).astype(np.uint32)
    seen = pieces[..., 0] * 65536 + pieces[..., 1] * 256 + pieces[..., 2]
    assert np.array_equal(np.unique(seen), picture.ravel())
    corners = sorted((int(tile[0, 0]) // width, int(tile[0, 0]) % width) for tile in seen)
    for axis in (0, 1):
        steps = np.diff(sorted({corner[axis] for corner in corners}))
        assert (steps <= 32).all()
    assert len(corners) == len(set(corners))


def test_tiles_are_scaled_to_twice_a_tile() -> None:
    assert len(tiles(photo(321, 481), (64, 64))) == 3 * 5  # 128 x 192, a tile each 32
    assert len(tiles(photo(640, 640), (64, 64))) == 3 * 3
    assert len(tiles(photo(20, 30), (64, 64))) == 1 * 2  # up to 64 x 96
    with pytest.raises(PictureError, match="more than 50 times"):
        tiles(np.zeros((2, 101, 3), np.uint8), (8, 8))


def test_channels() -> None:
    colour = photo(4, 5)[None]
    assert np.array_equal(channels(colour, 3), colour.transpose(0, 3, 1, 2))
    grey = channels(colour, 1)
    assert grey.shape == (1, 1, 4, 5)
    assert np.abs(grey[0, 0] - colour[0] @ [0.299, 0.587, 0.114]).max() <= 0.5
    assert np.array_equal(channels(grey.transpose(0, 2, 3, 1), 3), np.repeat(grey, 3, 1))
