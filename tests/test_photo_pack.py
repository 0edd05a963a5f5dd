"""The pictures that the photo denoiser learns from and is measured on: benchmarks/photo_*.py."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import photo_cases
import photo_pack
from sfumato.errors import UserError


def picture(seed: int, width: int, height: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def data(tmp_path, monkeypatch):
    for name in ("bsds500/train", "dreambooth/cat", "dreambooth/dog"):
        (tmp_path / name).mkdir(parents=True)
    picture(0, 480, 320).save(tmp_path / "bsds500/train/1.jpg", quality=90)
    picture(1, 512, 512).save(tmp_path / "dreambooth/cat/00.jpg")
    picture(2, 512, 512).save(tmp_path / "dreambooth/dog/00.jpg")
    parts = {
        "dreambooth": {"train": ["cat"], "test": ["dog"]},
        "wallpapers": {"train": ["w"]},
        "graphics": {"train": []},
    }
    monkeypatch.setattr(photo_pack, "split", lambda: parts)
    monkeypatch.setattr(photo_pack, "wallpaper", lambda name: picture(3, 960, 800))
    monkeypatch.setattr(photo_pack, "DRAWN", 3)
    return tmp_path


def test_a_pack_holds_the_training_pictures_alone_and_without_loss(data):
    photo_pack.pack(data / "pack.safetensors", data)
    found = dict(
        zip(photo_pack.names(data / "pack.safetensors"), photo_pack.unpack(data / "pack.safetensors"), strict=True)
    )
    assert list(found) == [
        "wallpapers/w",
        "dreambooth/cat-00",
        "bsds/1",
        "bsds-half/1",
        "drawn/0",
        "drawn/1",
        "drawn/2",
    ]
    with Image.open(data / "dreambooth/cat/00.jpg") as cat:
        assert (found["dreambooth/cat-00"] == np.asarray(photo_pack.smaller(cat, 2))).all()
    assert found["bsds/1"].shape == (288, 304, 3)
    assert found["bsds-half/1"].shape == (144, 152, 3)
    with Image.open(data / "bsds500/train/1.jpg") as whole:
        crop = np.asarray(whole)[16:304, 80:384]
    assert photo_cases.psnr(crop, found["bsds/1"]) > 40


def test_a_missing_subject_is_one_line(data):
    (data / "dreambooth/cat/00.jpg").unlink()
    with pytest.raises(UserError, match="dreambooth/cat"):
        photo_pack.pack(data / "pack.safetensors", data)


def test_no_picture_is_both_trained_on_and_measured():
    parts = photo_pack.split()
    for kind in ("wallpapers", "graphics", "dreambooth", "skimage"):
        assert not set(parts[kind]["train"]) & set(parts[kind]["test"]), kind
    assert not parts["skimage"]["train"]


def test_drawings_depend_on_the_generator_alone():
    one, two = (photo_pack.synthetic(6, np.random.default_rng(4), 64) for _ in range(2))
    assert one.shape == (6, 64, 64, 3)
    assert one.dtype == np.uint8
    assert (one == two).all()
    assert len(np.unique(one.reshape(6, -1), axis=0)) == 6


@pytest.mark.parametrize("way", photo_cases.DEMOSAIC)
def test_demosaicking_leaves_a_flat_picture_alone(way):
    flat = np.full((16, 20, 3), (0.2, 0.5, 0.7))
    assert np.allclose(photo_cases.DEMOSAIC[way](photo_cases.mosaic(flat)), flat)


def test_malvar_is_nearer_to_a_photo_than_bilinear():
    grey = np.asarray(picture(5, 128, 128).convert("L")) / 255
    light = np.stack([grey] * 3, 2)
    errors = [np.square(way(photo_cases.mosaic(light)) - light).mean() for way in photo_cases.DEMOSAIC.values()]
    assert errors[1] < errors[0] / 2


def test_a_camera_adds_more_noise_the_less_light_it_has():
    clean = np.asarray(picture(6, 128, 128))
    truth = photo_cases.camera(clean, 0.001, "malvar", None)
    values = [
        photo_cases.psnr(photo_cases.camera(clean, shot, "malvar", np.random.default_rng(0)), truth)
        for shot in (0.0005, 0.002, 0.008)
    ]
    assert values[0] > values[1] + 3 > values[2] + 6


def test_white_noise_has_its_level_and_is_cut_off_only_if_it_is_clipped():
    clean = np.full((64, 64, 3), 250, np.uint8)
    pure = photo_cases.white("", clean, 20, 0, False)
    cut = photo_cases.white("", clean, 20, 0, True)
    assert abs((pure.noisy - 250 / 255).std() * 255 - 20) < 0.7
    assert pure.noisy.max() > 1
    assert cut.noisy.dtype == np.uint8
    assert (cut.noisy == photo_cases.to_8_bit(pure.noisy)).all()
