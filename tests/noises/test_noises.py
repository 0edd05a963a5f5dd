"""Noises: as strong as they say, pure functions of a seed, and nothing where there is none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sfumato.noises import camera as cameras
from sfumato.noises import fields
from sfumato.noises.camera import Bayer, camera, curve, linear
from sfumato.noises.dice import Dice
from sfumato.noises.photo import FLOOR, SHARES, UNIT, levels, photo_noise, rounded


def dice(seed: int = 0) -> Dice:
    return Dice(torch.Generator().manual_seed(seed), "cpu")


def pictures(n: int = 60, side: int = 40) -> Tensor:
    """Shaded grounds with a bar, away from black and white."""
    y, x = torch.meshgrid(torch.linspace(-0.4, 0.4, side), torch.linspace(-0.3, 0.3, side), indexing="ij")
    one = torch.stack([x, y, 0.2 - x * y])
    one[:, side // 2 : side // 2 + 4] += 0.3
    return one.expand(n, -1, -1, -1) * torch.linspace(0.5, 1.0, n).view(-1, 1, 1, 1)


def deviation(x: Tensor) -> Tensor:
    return x.flatten(1).square().mean(1).sqrt()


def test_the_level_that_is_told_is_the_one_that_is_there() -> None:
    x0 = pictures(400)
    made = photo_noise(x0, dice(), clipped=0.0)
    true = deviation(made.x - x0)
    other = ~made.white
    assert torch.allclose(made.sigma[other], true[other].clamp_min(FLOOR), rtol=1e-5)
    strong = made.white & (made.sigma > FLOOR)
    assert torch.allclose(made.sigma[strong], true[strong], rtol=0.06)  # 4,800 numbers a picture
    assert (made.x[made.white & (made.sigma == FLOOR)] - x0[made.white & (made.sigma == FLOOR)]).abs().max() < FLOOR * 6


def test_clipped_is_what_was_clipped() -> None:
    x0 = pictures(200)
    made = photo_noise(x0, dice(), clipped=0.5)
    assert 0.3 < float(made.clipped[made.white].float().mean()) < 0.7
    assert not made.clipped[~made.white].any()
    files = made.x[made.clipped]
    assert files.abs().max() <= 1
    assert torch.allclose(rounded(files), files, atol=1e-6)


def test_a_batch_is_a_pure_function_of_the_seed() -> None:
    one, two, other = (photo_noise(pictures(), dice(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.sigma, two.sigma)
    assert not torch.equal(one.x, other.x)


@pytest.mark.parametrize("n", [1, 2, 3, 16])
def test_small_batches_see_every_kind_in_the_end(n: int) -> None:
    rolled = dice()
    counts = torch.tensor([rolled.split(n, list(SHARES.values())) for _ in range(3000)]).float()
    assert (counts.sum(1) == n).all()
    assert torch.allclose(counts.mean(0) / n, torch.tensor(list(SHARES.values())), atol=0.03)
    made = photo_noise(pictures(n), dice(n))
    assert made.x.shape == (n, 3, 40, 40)
    assert made.x.isfinite().all()


def test_grey_pictures_stay_grey_until_they_are_saved() -> None:
    x0 = pictures(60)[:, :1].expand(-1, 3, -1, -1)
    made = photo_noise(x0, dice(), 0.0, torch.ones(60, dtype=torch.bool))
    white = made.x[made.white]
    assert torch.equal(white[:, 0], white[:, 2])


def test_levels_reach_from_almost_nothing_to_very_strong() -> None:
    sigma = levels(20_000, dice()).flatten() / UNIT
    assert 0.2 < sigma.min() < 0.3
    assert 90 < sigma.max() <= 100
    for low, high in ((0.25, 1), (1, 5), (5, 15), (15, 60), (60, 100)):
        assert ((sigma >= low) & (sigma < high)).float().mean() > 0.02


@pytest.mark.parametrize("noise", [fields.coloured, fields.smeared])
def test_fields_have_the_deviation_that_was_asked_for(noise) -> None:  # type: ignore[no-untyped-def]
    x0, sigma = pictures(8), torch.linspace(0.01, 0.3, 8).view(-1, 1, 1, 1)
    assert torch.allclose(deviation(noise(x0, dice(), sigma)), sigma.flatten(), rtol=1e-4)


def test_colour_noise_is_in_the_colours() -> None:
    planes = fields.to_ycc(fields.coloured(pictures(30), dice(), torch.full((30, 1, 1, 1), 0.1)))
    assert float(planes[:, 0].square().mean()) < 0.3 * float(planes[:, 1:].square().mean())


def test_grain_has_no_colour_and_is_strongest_in_the_middle() -> None:
    tones = torch.tensor([-0.98, 0.0, 0.98]).view(3, 1, 1, 1).expand(3, 3, 60, 60)
    found = torch.stack(
        [deviation(fields.grain(tones, dice(seed), torch.full((3, 1, 1, 1), 0.1))) for seed in range(9)]
    )
    dark, middle, light = found.mean(0).tolist()
    assert middle > 2 * max(dark, light)
    one = fields.grain(tones, dice(), torch.full((3, 1, 1, 1), 0.1))
    assert torch.equal(one[:, 0], one[:, 2])


def test_what_a_blur_leaves_of_white_noise() -> None:
    width = torch.tensor([0.0, 0.3, 0.8, 1.5, 2.5]).view(5, 1, 1, 1)
    blurred = fields.blur(dice().normal(5, 1, 200, 200), width)
    assert torch.allclose(deviation(blurred), fields.kept(width).flatten(), rtol=0.05)
    assert torch.allclose(fields.blur(torch.ones(5, 3, 20, 20), width), torch.ones(5, 3, 20, 20), atol=1e-5)


def test_curves_undo_each_other() -> None:
    x = torch.linspace(0, 1, 100)
    assert torch.allclose(curve(linear(x)), x, atol=1e-5)
    assert float(linear(torch.tensor(0.5))) == pytest.approx(0.21404, abs=1e-4)


@pytest.mark.parametrize("sharp", [False, True])
@pytest.mark.parametrize("start", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_flat_picture_survives_its_mosaic(start: tuple[int, int], sharp: bool) -> None:
    flat = torch.tensor([0.2, 0.5, 0.7]).view(1, 3, 1, 1).expand(1, 3, 12, 14)
    bayer = Bayer(flat.shape[-2:], *(torch.tensor([[[[bool(s)]]]]) for s in start))
    one = bayer.mosaic(flat)
    assert one.shape == (1, 1, 12, 14)
    assert float((one == 0.5).float().mean()) == 0.5
    done = bayer.interpolate(one, torch.tensor([[[[sharp]]]]))
    for colour in range(3):
        values = done[0, colour].unique()
        assert float(flat[0, colour, 0, 0]) in values
        if not sharp:  # the sharp filters lean on the other colours' curvature, which a mosaic of three tones has
            assert torch.allclose(values, flat[0, colour, 0, 0], atol=1e-6)
    grey = torch.full((1, 3, 12, 14), 0.4)
    assert torch.allclose(bayer.interpolate(bayer.mosaic(grey), torch.tensor([[[[sharp]]]])), grey, atol=1e-6)


def test_a_ramp_survives_its_mosaic_inside() -> None:
    ramp = torch.linspace(0, 1, 20).view(1, 1, 1, 20).expand(1, 3, 16, 20)
    bayer = Bayer(ramp.shape[-2:], torch.tensor([[[[False]]]]), torch.tensor([[[[True]]]]))
    for sharp in (True, False):
        done = bayer.interpolate(bayer.mosaic(ramp), torch.tensor([[[[sharp]]]]))
        assert torch.allclose(done[..., 2:-2, 2:-2], ramp[..., 2:-2, 2:-2], atol=1e-6)


def test_a_camera_without_noise_gives_the_picture_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "SHOT", (1e-14, 1e-13))
    monkeypatch.setattr(cameras, "CFA_ERROR", 0.0)
    x0 = pictures(10)
    assert torch.allclose(camera(x0, dice()), x0, atol=2e-3)


def test_a_cameras_noise_follows_the_light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "SHOT", (1e-3, 1.01e-3))
    monkeypatch.setattr(cameras, "READ_OFFSET", -20.0)  # shot noise alone
    tones = torch.tensor([-0.5, 0.5]).view(2, 1, 1, 1).expand(2, 3, 64, 64)
    noisy = (camera(tones, dice()) + 1) / 2
    clean = (tones + 1) / 2
    error = deviation(linear(noisy) - linear(clean))
    assert 1.5 < float(error[1] / error[0]) < 8  # the root of the light's ratio is 2.9; sensors differ
