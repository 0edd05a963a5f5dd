"""Grids hold the pictures' exact pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFont

from sfumato.show.grid import BACKGROUND, GAP, enlargement, grid, legible, side_by_side, wrap


def some(n: int, c: int, h: int, w: int) -> np.ndarray:
    return np.random.default_rng(n * h + w).integers(0, 256, (n, c, h, w), dtype=np.uint8)


@settings(max_examples=40)
@given(
    n=st.integers(1, 7), c=st.sampled_from((1, 3)), h=st.integers(1, 9), w=st.integers(1, 9),
    columns=st.integers(1, 9), scale=st.integers(1, 3), tensor=st.booleans(),
)  # fmt: skip
def test_every_pixel_stands_in_its_place(
    n: int, c: int, h: int, w: int, columns: int, scale: int, tensor: bool
) -> None:
    pictures = some(n, c, h, w)
    sheet = grid(torch.from_numpy(pictures) if tensor else pictures, columns, scale)
    columns = min(columns, n)
    rows = -(-n // columns)
    expected = np.full((GAP + rows * (h * scale + GAP), GAP + columns * (w * scale + GAP), c), BACKGROUND, np.uint8)
    for k in range(n):
        y, x = GAP + k // columns * (h * scale + GAP), GAP + k % columns * (w * scale + GAP)
        block = np.kron(pictures[k].transpose(1, 2, 0), np.ones((scale, scale, 1), np.uint8))
        expected[y : y + h * scale, x : x + w * scale] = block
    assert sheet.mode == ("L" if c == 1 else "RGB")
    np.testing.assert_array_equal(np.asarray(sheet).reshape(expected.shape), expected)


def test_small_pictures_are_enlarged_and_large_ones_are_not() -> None:
    assert [enlargement(side, side) for side in (8, 28, 32, 48, 128, 512)] == [12, 3, 3, 2, 1, 1]
    assert grid(some(16, 3, 32, 32)).size == (4 * 98 + 2, 4 * 98 + 2)


@pytest.mark.parametrize("c", [1, 3])
def test_captions_stand_under_their_pictures_and_leave_the_pixels_alone(c: int) -> None:
    pictures = some(4, c, 32, 32)
    plain = np.asarray(grid(pictures, 2))
    told = np.asarray(grid(pictures, 2, captions=["one", "", "three words of a caption that is long", "4"]))
    assert told.shape[0] > plain.shape[0]
    assert told.shape[1] == plain.shape[1]
    np.testing.assert_array_equal(told[: GAP + 96], plain[: GAP + 96])
    under = told[GAP + 96 : GAP + 96 + 12]
    assert (under[:, :98] < 128).any()
    assert (under[:, 98:] == BACKGROUND).all()


def test_side_by_side_mixes_grey_colour_and_sizes() -> None:
    colour, grey = some(3, 3, 32, 32), some(3, 1, 16, 16)
    sheet = np.asarray(side_by_side({"A": colour, "B": grey}, scale=2))
    assert sheet.shape[1:] == (GAP + 2 * (64 + GAP), 3)
    last = sheet[-GAP - 64 : -GAP]
    np.testing.assert_array_equal(last[:, GAP : GAP + 64], np.kron(colour[2].transpose(1, 2, 0), np.ones((2, 2, 1))))
    np.testing.assert_array_equal(last[:, 2 * GAP + 64 : -GAP, 0], np.kron(grey[2, 0], np.ones((4, 4))))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 3, 8, 8), np.float32), np.zeros((3, 8, 8), np.uint8), np.zeros((2, 4, 8, 8), np.uint8),
        np.zeros((0, 3, 8, 8), np.uint8),
    ],
)  # fmt: skip
def test_other_shapes_and_types_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        grid(wrong)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        side_by_side({"a": some(2, 3, 8, 8), "b": some(3, 3, 8, 8)})
    with pytest.raises(ValueError, match="captions"):
        grid(some(2, 3, 8, 8), captions=["one"])


@given(st.text(max_size=60), st.integers(20, 200))
@settings(max_examples=60)
def test_wrapped_texts_fit(text: str, width: int) -> None:
    font = legible(width)
    assert isinstance(font, ImageFont.FreeTypeFont)
    lines = wrap(text, font, width).split("\n")
    assert len(lines) <= 3
    assert all(font.getlength(line) <= width for line in lines)
