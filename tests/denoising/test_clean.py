"""The verb denoise: any kind of picture in and out, levels by number, picture and map, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.denoising.arrays import take
from sfumato.denoising.denoise import Cleaning, best, cut_off, denoise, mirrored, posterior_samples
from sfumato.denoising.levels import level_of_photo, level_of_pictures, parts
from sfumato.diffusion.condition import Condition
from sfumato.diffusion.level import Level
from sfumato.errors import UserError
from sfumato.models.named import net_of
from sfumato.models.pixel import PixelModel
from sfumato.pictures.vocabulary import NOISE, Vocabulary
from sfumato.recipe.recipe import build

from ..tiny import model_of, shaken

NET = {"kind": "plain", "channels": [8, 8], "blocks": 1, "stem": 2}
RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (3, 20, 31, 3), dtype=np.uint8)
FLOATS = torch.from_numpy(BYTES).permute(0, 3, 1, 2).float() / 255


def plain(clipped: float = 0.5) -> PixelModel:
    recipe = build({"task": "denoise", "net": NET, "noise": {"clipped": clipped}})
    torch.manual_seed(0)
    return PixelModel.of(shaken(net_of(recipe.net, (3, 8, 8), NOISE)), recipe, NOISE, (3, 8, 8))


MODEL = plain().cleaner()


@pytest.mark.parametrize(
    "picture",
    [
        BYTES, BYTES[0], BYTES[0, :, :, 0], BYTES[..., :1], BYTES[0].astype(np.uint16) * 257, BYTES[0] / 255,
        (BYTES[0] / 255).astype(np.float32), FLOATS, FLOATS[0], FLOATS[0].half(), FLOATS[:, :1],
        torch.from_numpy(BYTES).permute(0, 3, 1, 2),
    ],
    ids=lambda p: f"{type(p).__name__}-{p.dtype}-{'x'.join(map(str, p.shape))}",
)  # fmt: skip
def test_the_same_kind_of_thing_comes_out(picture: Any) -> None:
    done = denoise(MODEL, picture, 0.1)
    assert type(done) is type(picture)
    assert (done.shape, done.dtype) == (picture.shape, picture.dtype)
    assert not (np.asarray(done) == np.asarray(picture)).all()
    three = posterior_samples(MODEL, picture, 2, 0.1, steps=2)
    assert [type(each) for each in three] == [type(picture)] * 2


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "I;16"])
def test_pil(mode: str) -> None:
    image = Image.fromarray(BYTES[0, :, :, 0].astype(np.uint16) * 257) if mode == "I;16" else None
    image = image or Image.fromarray(BYTES[0]).convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(BYTES[1, :, :, 0]))
    image.info["icc_profile"] = b"profile"
    done = denoise(MODEL, image, 0.2)
    assert (done.mode, done.size, done.info) == (image.mode, image.size, image.info)
    if "A" in mode:
        assert done.getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float"])
def test_taking_and_giving_back_changes_nothing(kind: str) -> None:
    picture = {"uint8": BYTES, "uint16": BYTES.astype(np.uint16) * 257 + 3, "float": BYTES / 255}[kind]
    taken = take(picture)
    assert float(taken.x.min()) >= -1
    assert np.allclose(taken.back(taken.x), picture, atol=1e-6 if kind == "float" else 0)


def test_one_call_of_the_denoiser_at_that_level() -> None:
    x = FLOATS * 2 - 1
    with torch.inference_mode():
        told = Condition.of(tokens=torch.full((3, 1), 2))
        wanted = (MODEL.denoiser(torch.nn.functional.pad(x, (0, 1, 0, 0), mode="reflect"), Level.of(0.4), told) + 1) / 2
    assert torch.allclose(denoise(MODEL, FLOATS, 0.2), wanted[..., :31].clamp(0, 1), atol=1e-5)


def test_levels_a_picture_and_by_map() -> None:
    sigma = torch.tensor([0.05, 0.15, 0.4])
    each = denoise(MODEL, FLOATS, sigma)
    for k in range(3):
        assert torch.allclose(each[k], denoise(MODEL, FLOATS[k], float(sigma[k])), atol=1e-5)
    map_ = sigma.view(3, 1, 1).expand(3, 20, 31)
    assert torch.allclose(each, denoise(MODEL, FLOATS, map_), atol=1e-5)
    assert torch.allclose(each[0], denoise(MODEL, FLOATS[0], np.full((20, 31), 0.05)), atol=1e-5)


def test_strength_is_a_smaller_level_not_a_blend() -> None:
    assert torch.equal(denoise(MODEL, FLOATS, 0.4, cleaning=Cleaning(strength=0.5)), denoise(MODEL, FLOATS, 0.2))
    assert torch.equal(denoise(MODEL, FLOATS, 0.4, cleaning=Cleaning(strength=0)), FLOATS)
    assert torch.equal(denoise(MODEL, FLOATS, 0.0), FLOATS)


def test_who_is_told_of_clipping_and_who_makes_up_for_it() -> None:
    assert MODEL.clipping == "condition"
    assert not torch.equal(
        denoise(MODEL, FLOATS, 0.2, cleaning=Cleaning(clipped=True)),
        denoise(MODEL, FLOATS, 0.2, cleaning=Cleaning(clipped=False)),
    )
    generative, level = model_of().cleaner(), Level.of(0.4)
    y = (torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 1.5).clamp(-1, 1)
    with torch.inference_mode():
        naive, mended = (best(generative, generative.denoiser, y, level, clipped) for clipped in (False, True))
        assert torch.equal(naive, generative.denoiser(y, level))
    assert not torch.equal(naive, mended)


def test_samples_follow_their_seed() -> None:
    a, b = posterior_samples(MODEL, FLOATS[0], 2, 0.2, steps=3, seed=5)
    assert not torch.equal(a, b)
    assert torch.equal(b, posterior_samples(MODEL, FLOATS[0], 1, 0.2, steps=3, seed=6)[0])


@pytest.mark.parametrize(
    ("picture", "options", "reason"),
    [
        ("photo.jpg", {}, "str is not a picture"),
        (np.zeros((4, 5, 2)), {}, "an array of shape"),
        (np.zeros((0, 5, 3)), {}, "no pixels"),
        (torch.zeros(5, 5), {}, "a tensor of shape"),
        (np.zeros((4, 4, 3), np.int32), {}, "values of type"),
        (np.full((8, 8, 3), np.nan), {}, "not finite"),
        (np.full((8, 8, 3), np.inf), {}, "not finite"),
        (np.full((8, 8, 3), 200.0), {}, "divide by 255"),
        (FLOATS, {"sigma": -0.1}, "between 0 and 1"),
        (FLOATS, {"sigma": 1.1}, "between 0 and 1"),
        (FLOATS, {"sigma": float("nan")}, "between 0 and 1"),
        (FLOATS, {"sigma": np.zeros((5, 5))}, "a map of the picture's size"),
        (FLOATS, {"strength": 2.0}, "a strength between 0 and 1"),
        (FLOATS, {"samples": -1}, "draw one or more"),
        (Image.new("CMYK", (8, 8)), {}, "mode CMYK"),
    ],
    ids=range(15),
)
def test_what_is_refused(picture: Any, options: dict[str, Any], reason: str) -> None:
    how = Cleaning(strength=options.get("strength", 1.0))
    with pytest.raises(UserError, match=reason) as caught:
        posterior_samples(MODEL, picture, options.get("samples", 1), options.get("sigma", 0.1), how)
    assert "\n" not in str(caught.value)


def test_models_for_small_pictures_say_so() -> None:
    with pytest.raises(UserError, match="is for small pictures"):
        denoise(model_of().cleaner(), torch.zeros(3, 1200, 1200), 0.1)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (33, 47), (5, 40)])
def test_a_model_that_reads_the_level_does_so_at_any_size(size: tuple[int, int]) -> None:
    recipe = build({"task": "denoise", "net": {**NET, "gauge": True}})
    torch.manual_seed(0)
    nothing = Vocabulary.build("none")
    model = PixelModel.of(shaken(net_of(recipe.net, (3, 8, 8), nothing)), recipe, nothing, (3, 8, 8)).cleaner()
    picture = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    assert denoise(model, picture).shape == picture.shape


def test_what_comes_out_is_an_ordinary_tensor_of_its_own() -> None:
    learned = FLOATS.clone().requires_grad_()
    done = denoise(MODEL, learned)
    done.mul_(255).requires_grad_().sum().backward()
    same = denoise(MODEL, FLOATS, 0.0)
    assert torch.equal(same, FLOATS)
    assert same.data_ptr() != FLOATS.data_ptr()
    one, two = posterior_samples(MODEL, BYTES[0], 2, 0.1, Cleaning(strength=0.0))
    assert np.array_equal(one, BYTES[0])
    assert one is not two


@pytest.mark.parametrize("kind", [">f4", ">u2"])
def test_the_other_byte_order(kind: str) -> None:
    picture = (BYTES[0] / 255 * (1 if kind == ">f4" else 65535)).astype(kind)
    done = denoise(MODEL, picture, 0.1)
    assert done.dtype == picture.dtype
    assert np.array_equal(done, denoise(MODEL, picture.astype(kind[1:]), 0.1))


def test_samples_of_pictures_with_levels_of_their_own() -> None:
    drawn = posterior_samples(MODEL, FLOATS, 2, torch.tensor([0.05, 0.1, 0.2]), steps=2, seed=3)
    alone = posterior_samples(MODEL, FLOATS[1:2], 2, 0.1, steps=2, seed=4)
    assert torch.allclose(drawn[1][1:2], alone[1], atol=1e-5)


def test_a_map_is_for_networks_that_know_maps() -> None:
    with pytest.raises(UserError, match="one level for a whole picture"):
        denoise(model_of().cleaner(), FLOATS[:, :, :16, :16], np.full((16, 16), 0.1))


@pytest.mark.parametrize("kind", ["one", "map"])
def test_a_mirrored_picture_gets_the_mirrored_answer(kind: str) -> None:
    y = 2 * FLOATS[..., :16, :24] - 1
    sigma = torch.linspace(0.1, 0.5, 24).expand(3, 1, 16, 24) if kind == "map" else torch.tensor([0.1, 0.3, 0.5])
    other = sigma.flip(3) if kind == "map" else sigma
    run = mirrored(MODEL.denoiser)
    with torch.no_grad():
        a, b = run(y, Level.of(sigma)), run(y.flip(3), Level.of(other))
        plain = MODEL.denoiser(y, Level.of(sigma))
    assert torch.allclose(a, b.flip(3), atol=1e-5)
    assert not torch.allclose(a, plain, atol=1e-3)


def test_mirroring_is_asked_for() -> None:
    assert (denoise(MODEL, BYTES[0], 0.1, cleaning=Cleaning(mirror=True)) != denoise(MODEL, BYTES[0], 0.1)).any()


def gauging() -> PixelModel:
    """A plain network that reads the level, of the prediction that leaves pictures alone."""
    noise = {"clipped": 0.5, "prediction": "residual", "sigma_data": 0.015}
    recipe = build({"task": "denoise", "net": NET | {"gauge": True}, "noise": noise})
    torch.manual_seed(0)
    return PixelModel.of(shaken(net_of(recipe.net, (3, 8, 8), NOISE)), recipe, NOISE, (3, 8, 8))


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (17, 33), (160, 160), (200, 170)])
def test_a_level_is_read_from_pictures_of_any_size(size: tuple[int, int]) -> None:
    model, picture = gauging().cleaner(), RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    read = level_of_photo(model, picture)
    assert 0 < read <= 1
    assert read == pytest.approx(float(level_of_pictures(model, take(picture).x).sigma[0]) / 2, rel=1e-5)
    assert (denoise(model, picture) == denoise(model, picture, read)).all()


def test_grey_pictures_are_read_as_colours_that_agree() -> None:
    model, picture = gauging().cleaner(), RNG.integers(0, 256, (32, 40, 1), dtype=np.uint8)
    assert level_of_photo(model, picture) == pytest.approx(level_of_photo(model, picture.repeat(3, 2)), rel=1e-5)
    assert denoise(model, picture).shape == picture.shape


def test_a_large_photo_is_read_in_parts_from_all_over() -> None:
    spots = parts((4000, 6001, 3), 160)
    assert len(spots) == 64
    assert {(r.stop - r.start, c.stop - c.start) for r, c in spots} == {(160, 160)}
    assert (spots[0][0].start, spots[-1][0].stop, spots[-1][1].stop) == (0, 4000, 6001)
    assert parts((100, 70), 160) == [(slice(0, 100), slice(0, 70))]


def test_whose_noise_was_cut_off() -> None:
    """It follows what is saturated, not that values are whole numbers."""
    y = torch.linspace(-0.9, 0.9, 1000).view(1, 1, 10, 100).clone()
    assert not cut_off(y)
    y[..., :1] = 1.0
    assert cut_off(y)
    y[0, 0, 0, 0] = 1.1
    assert not cut_off(y)


@pytest.mark.parametrize("picture", [FLOATS[:1, :, :16, :24], torch.ones(1, 3, 16, 16)])
def test_a_picture_said_to_have_no_noise_stays(picture: torch.Tensor) -> None:
    """Whatever the weights: these were never trained."""
    x, model = picture * 2 - 1, gauging()
    with torch.no_grad():
        changes = [float((model.denoiser(x, Level.of(sigma)) - x).abs().max()) for sigma in (1e-3, 1e-5, 1e-7)]
    assert changes[0] > 1e-3
    assert changes[1] < 0.02 * changes[0]
    assert changes[2] < 0.02 * changes[1] + 1e-6
