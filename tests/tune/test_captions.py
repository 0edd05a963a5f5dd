"""Captions are read from the photos: place and size exactly, the background by the shipped base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import sfumato
from sfumato.pictures.emoji.scene import BACKGROUNDS, PLACES, SIZES, Scene
from sfumato.pictures.emoji.things import subjects
from sfumato.text.model import TextModel
from sfumato.tune.captions import Box, Describer, describes, framing, subject
from sfumato.tune.photos import check
from sfumato.tune.photoset import _nearer, prepare

from .conftest import base


def test_size_and_place_are_where_the_detail_lies() -> None:
    for k, name in enumerate(subjects()):
        size, place = list(SIZES)[k % 3], list(PLACES)[k % 5]
        scene = Scene((name,), list(BACKGROUNDS)[k % 10], size, "" if size == "large" else place)
        assert framing(subject(scene.draw().transpose(2, 0, 1))) == (scene.size, scene.place)


@given(
    st.integers(0, 2**32 - 1), st.floats(0.3, 1), st.floats(0, 0.9), st.floats(0.05, 0.5), st.floats(0, 0.9),
    st.floats(0.05, 0.5),
)  # fmt: skip
def test_a_nearer_view_keeps_what_fits_into_it(
    seed: int, least: float, top: float, height: float, left: float, width: float
) -> None:
    box = Box(top, min(1.0, top + height), left, min(1.0, left + width))
    share, x, y = _nearer(np.random.default_rng(seed), least, box)
    assert least <= share <= 1
    assert min(x, y) >= 0
    assert max(x, y) + share <= 1 + 1e-9
    if box.right - box.left <= share:
        assert x <= box.left + 1e-9
        assert x + share >= box.right - 1e-9


def test_views_are_told_as_they_are(tmp_path: Path) -> None:
    scenes = [Scene(("panda",), paper, "small", "at the top") for paper in ("blue", "white", "orange", "pink", "green")]
    for k, scene in enumerate(scenes):
        Image.fromarray(scene.draw((160, 160))).save(tmp_path / f"{k}.png")
    (tmp_path / "4.txt").write_text("as I say")
    model = sfumato.load("mini", device="cpu")
    assert isinstance(model, TextModel)
    assert describes(model)
    describer = Describer(model, "bear", "zarnu bear")
    found = prepare(check(tmp_path, 64), model, "a zarnu bear", "zarnu", 8, False, 0, describer)
    assert found.captions[:4] == [
        Scene(("zarnu bear",), scene.background, "small", "at the top").caption() for scene in scenes[:4]
    ]
    assert found.told[4] == ["a zarnu bear, as I say"] * 8
    nearer = {text for told in found.told[:4] for text in told}
    assert any("small" not in text for text in nearer)
    for pictures, told in zip(found.pictures[:4], found.told[:4], strict=True):
        for picture, text in zip(pictures, told, strict=True):
            size, place = framing(subject(picture.numpy()))
            assert (f"{size} zarnu" in text) if size else True
            assert text.endswith(place or "background")


def test_a_base_of_another_world_is_not_asked() -> None:
    assert not describes(base())


@pytest.mark.parametrize("picture", [np.zeros((3, 64, 64), np.uint8), np.full((3, 64, 64), 255, np.uint8)])
def test_nothing_to_see_is_no_error(picture: np.ndarray) -> None:
    size, place = framing(subject(picture))
    assert size in SIZES
    assert place in PLACES
