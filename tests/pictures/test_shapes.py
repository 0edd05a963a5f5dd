from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from sfumato.pictures.drawn import shapes
from sfumato.pictures.store import open_store
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.sections import Data


def test_held_out_combinations_are_a_tenth_and_every_pair_is_seen() -> None:
    drawn, held_out = set(shapes.DRAWN), set(shapes.HELD_OUT)
    assert not drawn & held_out
    assert len(drawn | held_out) == 8 * 8 * 6 == len(shapes.COMBINATIONS)
    assert 0.08 < len(held_out) / len(shapes.COMBINATIONS) < 0.12
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pairs = {(c[first], c[second]) for c in shapes.COMBINATIONS}
        assert {(c[first], c[second]) for c in drawn} == pairs
    for part in range(3):
        assert {c[part] for c in held_out} == {c[part] for c in shapes.COMBINATIONS}
    assert len(set(shapes.captions(True)) | set(shapes.captions(False))) == len(shapes.COMBINATIONS)


def test_only_drawn_combinations_are_drawn_and_all_of_them() -> None:
    assert {shapes.combination_of("train", index) for index in range(shapes.TRAIN)} == set(shapes.DRAWN)
    assert {shapes.combination_of("test", index) for index in range(shapes.TEST)} <= set(shapes.DRAWN)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (24, 48)])
def test_reading_is_exact_and_the_shape_is_visible_whole(size: tuple[int, int]) -> None:
    for index in range(0, 16_000, 40 if size == (32, 32) else 160):
        picture = shapes.draw("train", index, size)
        assert picture.shape == (*size, 3)
        combination = shapes.combination_of("train", index)
        rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (rim == shapes.BACKGROUNDS[combination[2]]).all()
        assert shapes.read(picture.transpose(2, 0, 1)) == combination


@pytest.mark.parametrize("combination", shapes.HELD_OUT)
def test_held_out_combinations_are_read_right(combination: shapes.Combination) -> None:
    for centre, radius in (((16, 16), 12.5), ((10.2, 20.7), 7.8)):
        picture = shapes.paint(combination, (32, 32), centre, radius)
        assert shapes.read(torch.from_numpy(picture.transpose(2, 0, 1).copy())) == combination


def test_reading_bears_a_slight_blur_and_noise() -> None:
    rng, right = np.random.default_rng(0), 0
    for index in range(300):
        picture = gaussian_filter(shapes.draw("test", index).astype(float), (0.8, 0.8, 0))
        noisy = (picture + rng.normal(0, 10, picture.shape)).clip(0, 255).astype(np.uint8)
        read, want = shapes.read(noisy.transpose(2, 0, 1)), shapes.combination_of("test", index)
        assert all(part in ("?", known) for part, known in zip(read, want, strict=True))
        right += read == want
    assert right >= 297


def test_a_mess_is_not_read_as_something() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        assert shapes.read(rng.integers(0, 256, (3, 32, 32)).astype(np.uint8)) == ("?", "?", "?")
        smooth = gaussian_filter(rng.normal(size=(3, 32, 32)), (0, 4, 4))
        smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255
        assert "?" in shapes.read(smooth.astype(np.uint8))
        blob = gaussian_filter(rng.normal(size=(32, 32)), 3)
        inside = (blob > np.quantile(blob, 0.8)) & (np.pad(np.ones((28, 28)), 2) > 0)
        picture = np.where(inside, np.array([[[215]], [[30]], [[40]]]), 12).astype(np.uint8)
        assert shapes.read(picture)[0] == "?"


@pytest.mark.parametrize("background", shapes.BACKGROUNDS)
def test_a_blank_picture_shows_only_its_background(background: str) -> None:
    blank = np.broadcast_to(np.array(shapes.BACKGROUNDS[background], np.uint8)[:, None, None], (3, 32, 32))
    assert shapes.read(blank) == ("?", "?", background)
    assert shapes.read(np.full((3, 32, 32), 190, np.uint8)) == ("?", "?", "?")


def test_two_shapes_or_two_colours_are_not_one() -> None:
    one = shapes.paint(("circle", "red", "white"), (32, 32), (9, 9), 6)
    other = shapes.paint(("circle", "red", "white"), (32, 32), (22, 22), 6)
    assert shapes.read(np.minimum(one, other).transpose(2, 0, 1))[0] == "?"
    half = shapes.paint(("square", "red", "white"), (32, 32), (16, 16), 10)
    half[:, 16:] = shapes.paint(("square", "blue", "white"), (32, 32), (16, 16), 10)[:, 16:]
    assert "?" in shapes.read(half.transpose(2, 0, 1))[:2]


def test_the_drawing_is_the_same_everywhere() -> None:
    """If this fails the pictures have changed: raise shapes.VERSION."""
    assert shapes.combination_of("train", 0) == ("cross", "blue", "brown")
    assert int(shapes.draw("train", 0).astype(int).sum()) == 231_010


def test_the_store_of_shapes() -> None:
    store = open_store(Data(source="shapes", image_size=16))
    assert (len(store.train), len(store.held_out), store.shape) == (16_000, 1_600, (3, 16, 16))
    assert store.train.captions is not None
    assert set(store.train.captions) == set(shapes.captions(held_out=False))
    assert store.train.label_names == list(shapes.SHAPES)
    row = store.train.keys.index("train/000123")
    assert np.array_equal(store.train.pixels[row].permute(1, 2, 0), shapes.draw("train", 123, (16, 16)))
    vocabulary = Vocabulary.build("words", None, store.train.captions)
    assert vocabulary.encode(shapes.captions(held_out=True)).shape == (40, 7)
