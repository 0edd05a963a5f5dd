"""Scenes that are drawn when they are needed: the same pictures as scene by scene, with captions of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato.errors import UserError
from sfumato.pictures.emoji import things
from sfumato.pictures.emoji.scene import nth
from sfumato.pictures.feed import Feed
from sfumato.pictures.store import open_store
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.sections import Data

FONT = any((Path(folder).expanduser() / things.FONT).is_file() for folder in things.FOLDERS)
pytestmark = pytest.mark.skipif(not FONT, reason="needs the font Noto Color Emoji (fonts-noto-color-emoji)")


def test_rows_are_the_scenes_themselves() -> None:
    store = open_store(Data(source="emoji", image_size=64, count=120, captions=2))
    rows = torch.tensor([3, 119, 40])
    drawn = store.train.pixels[rows]
    for k, picture in zip(rows.tolist(), drawn, strict=True):
        scene, _, jitter = nth("train", k)
        assert np.array_equal(picture.numpy().transpose(1, 2, 0), scene.draw((64, 64), jitter))
    assert torch.equal(store.train.pixels.index_select(0, rows), drawn)
    assert store.shape == (3, 64, 64)
    assert torch.equal(torch.cat(list(store.train.pixels.split(50)))[rows], drawn)


def test_each_scene_has_several_captions_and_the_same_ones_again() -> None:
    data = Data(source="emoji", image_size=64, count=150, captions=3)
    first, again = open_store(data).train, open_store(data).train
    assert first.captions is not None
    assert first.captions == again.captions
    assert len(first.captions) == 3 * 150
    texts = [{first.captions[k + 150 * v] for v in range(3)} for k in range(150)]
    assert sum(len(each) > 1 for each in texts) > 120  # a second caption is another sentence
    assert len(first.texts("words")) == 150


def test_a_feed_draws_them() -> None:
    store = open_store(Data(source="emoji", image_size=64, count=100))
    x, _ = Feed(store.train, Vocabulary.build("none"), True, 0).draw(90, 16, torch.Generator().manual_seed(1))
    assert x.shape == (16, 3, 64, 64)
    assert x.min() >= -1
    assert x.max() <= 1


def test_only_the_emoji_are_drawn(tmp_path: object) -> None:
    with pytest.raises(UserError, match=r"data\.count"):
        open_store(Data(source="cifar10", count=100))
    with pytest.raises(UserError, match="square"):
        open_store(Data(source="emoji", image_size=(64, 128), count=100))
