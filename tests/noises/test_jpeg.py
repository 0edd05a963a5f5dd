"""JPEG's loss beside what Pillow writes and reads back."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sfumato.noises.jpeg import jpeg, rgb, ycc


def scene() -> np.ndarray:
    """Soft ground, hard coloured edges and some texture; sides that are no multiples of a block."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:77, :101] / 100
    picture = 255 * np.stack([0.3 + 0.4 * x, 0.5 + 0.3 * np.sin(6 * y), 0.6 - 0.3 * x * y], 2)
    picture[20:50, 30:70] = (230, 40, 40)
    picture[50:70, 10:60] += 30 * rng.standard_normal((20, 50, 1))
    return picture.round().clip(0, 255).astype(np.uint8)


def tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("quality", [5, 10, 30, 50, 75, 90, 95])
def test_it_loses_what_pillow_loses(quality: int, halved: bool) -> None:
    file = io.BytesIO()
    Image.fromarray(scene()).save(file, "JPEG", quality=quality, subsampling=2 if halved else 0)
    theirs = tensor(np.asarray(Image.open(file)))
    ours = jpeg(tensor(scene()), torch.tensor([float(quality)]), torch.tensor([halved]))
    loss, apart = (float((other - theirs).square().mean()) ** 0.5 * 127.5 for other in (tensor(scene()), ours))
    assert apart < 1.5  # of 255: roundings that fall the other way
    assert apart < 0.5 * loss
    assert float((ours - theirs).abs().mean()) * 127.5 < 0.8


def test_each_picture_has_its_own_quality() -> None:
    x = tensor(scene()).expand(4, -1, -1, -1)
    quality, halved = torch.tensor([10.0, 10.0, 90.0, 90.0]), torch.tensor([True, False, True, False])
    together = jpeg(x, quality, halved)
    for k in range(4):
        assert torch.equal(together[k : k + 1], jpeg(x[:1], quality[k : k + 1], halved[k : k + 1]))
    assert len({float(each.sum()) for each in together}) == 4


def test_a_shift_is_a_cut_from_a_larger_picture() -> None:
    whole = torch.nn.functional.pad(tensor(scene()), (16, 0, 16, 0), mode="replicate")
    quality, halved = torch.tensor([20.0]), torch.tensor([True])
    cut = jpeg(whole[..., 11:, 13:], quality, halved, (11, 13))
    assert torch.allclose(cut[..., 5:, 3:], jpeg(whole, quality, halved)[..., 16:, 16:], atol=1e-6)


def test_colours_and_back() -> None:
    x = 255 * torch.rand(2, 3, 4, 4)
    assert torch.allclose(rgb(ycc(x)), x, atol=1e-3)
    assert torch.allclose(ycc(torch.full((1, 3, 1, 1), 77.0)).flatten(), torch.tensor([77.0, 128.0, 128.0]), atol=1e-4)
