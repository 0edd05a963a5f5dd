"""The scales of pictures: exact both ways, and what is given stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

import sfumato
from sfumato.pictures.pixels import from_uint8, psnr, to_uint8

LEVELS = torch.arange(256, dtype=torch.uint8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_networks_see_pictures_between_minus_one_and_one(dtype: torch.dtype) -> None:
    x = from_uint8(LEVELS, dtype)
    assert x.dtype == dtype
    assert (x[0], x[-1]) == (-1, 1)
    assert torch.equal(x, LEVELS.to(dtype) / 127.5 - 1)


def test_what_is_given_stays_as_it_was() -> None:
    x = LEVELS.float()
    assert torch.equal(from_uint8(x), LEVELS.float() / 127.5 - 1)
    assert torch.equal(x, LEVELS.float())


def test_layout_is_kept() -> None:
    pictures = torch.zeros(2, 3, 4, 4, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    assert from_uint8(pictures).is_contiguous(memory_format=torch.channels_last)


def test_to_uint8_inverts_the_networks_scale() -> None:
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(to_uint8(from_uint8(LEVELS, dtype)), LEVELS)
    assert to_uint8(torch.tensor([-9.0, 9.0, torch.inf, -torch.inf])).tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize("span", [1.0, 2.0, 255.0])
def test_psnr_is_as_scikit_image_has_it(span: float) -> None:
    a, b = np.random.default_rng(0).random((2, 3, 16, 16)) * span
    error = torch.tensor([np.square(a - b).mean()])
    assert float(psnr(error, span)) == peak_signal_noise_ratio(a, b, data_range=span)


def test_pixels_are_scaled_in_one_place() -> None:
    """But for JPEG's own arithmetic, and for the grey of a picture of what was removed."""
    house = Path(sfumato.__file__).parent
    scaling = {str(path.relative_to(house)) for path in house.rglob("*.py") if "127.5" in path.read_text("utf-8")}
    assert scaling == {"pictures/pixels.py", "noises/jpeg.py", "denoising/files.py"}
