"""Scenes that are drawn when they are needed: the same pictures as scene by scene, with captions of their own."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import spawn
from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato import judge
from sfumato.errors import UserError
from sfumato.judging.denoise import measure_cleaner
from sfumato.judging.features import open_features
from sfumato.judging.report import write
from sfumato.pictures.drawn.emoji import drawn, things
from sfumato.pictures.drawn.emoji.scene import nth
from sfumato.pictures.feed import Feed
from sfumato.pictures.store import open_store
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.sections import Data

from ..tiny import model_of, small_features, write_pictures

FONT = any((Path(folder).expanduser() / things.FONT).is_file() for folder in things.FOLDERS)
pytestmark = pytest.mark.skipif(not FONT, reason="needs the font Noto Color Emoji (fonts-noto-color-emoji)")


def test_rows_are_the_scenes_themselves() -> None:
    store = open_store(Data(source="emoji", image_size=32, count=120, captions=2))
    rows = torch.tensor([3, 119, 40])
    shown = store.train.pixels[rows]
    for k, picture in zip(rows.tolist(), shown, strict=True):
        scene, _, jitter = nth("train", k)
        assert np.array_equal(picture.numpy().transpose(1, 2, 0), scene.draw((32, 32), jitter))
    assert torch.equal(store.train.pixels.index_select(0, rows), shown)
    assert store.shape == (3, 32, 32)
    assert torch.equal(torch.cat(list(store.train.pixels.split(50)))[rows], shown)


def test_each_scene_has_several_captions_and_the_same_ones_again() -> None:
    data = Data(source="emoji", image_size=32, count=150, captions=3)
    first, again = open_store(data).train, open_store(data).train
    assert first.captions is not None
    assert first.captions == again.captions
    assert len(first.captions) == 3 * 150
    texts = [{first.captions[k + 150 * v] for v in range(3)} for k in range(150)]
    assert sum(len(each) > 1 for each in texts) > 120  # a second caption is another sentence
    assert len(first.texts("words")) == 150


def test_a_feed_draws_them() -> None:
    store = open_store(Data(source="emoji", image_size=32, count=100))
    x, _ = Feed(store.train, Vocabulary.build("none"), True, 0).draw(90, 16, torch.Generator().manual_seed(1))
    assert x.shape == (16, 3, 32, 32)
    assert x.min() >= -1
    assert x.max() <= 1


def test_one_row_is_one_picture() -> None:
    pixels = open_store(Data(source="emoji", image_size=32, count=100)).train.pixels
    assert torch.equal(pixels[7], pixels[5:9][2])
    assert (pixels.dtype, pixels.ndim, len(pixels)) == (torch.uint8, 4, 100)


def test_a_model_is_judged_on_scenes_that_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "TEST", 20)
    model = model_of(shape=(3, 16, 16), data={"source": "emoji", "image_size": 16, "count": 100})
    folder = write_pictures(tmp_path / "pictures")
    for source, count in ((None, 100), ("emoji", 100), (str(folder), 48)):
        found = judge(model, n=8, data=source, features=open_features(small_features))
        assert write(found, tmp_path / "page").is_file()
        assert len(found.store.train) == count
    held_out = open_store(model.recipe.data).held_out.pixels
    assert measure_cleaner(held_out, lambda y: y, 0.1, n=2).n == 2


def test_processes_that_help_know_of_no_script() -> None:
    before = sys.modules["__main__"]
    with drawn._without_script():
        assert not {"init_main_from_name", "init_main_from_path"} & set(spawn.get_preparation_data("helper"))
    assert sys.modules["__main__"] is before


@pytest.mark.slow
def test_a_script_without_a_guard_is_run_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from sfumato.pictures.drawn.emoji import drawn\n"
        "from sfumato.recipe.sections import Data\n"
        "print('begun', flush=True)\n"
        "drawn.MANY, drawn.CHUNK, drawn.TEST, os.sched_getaffinity = 100, 60, 10, lambda _: range(3)\n"
        "print(len(drawn.drawn_store(Data(source='emoji', image_size=16), 120).train), flush=True)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["begun", "120"], done.stderr


def test_settings_that_scenes_do_not_have_are_one_line() -> None:
    for change, words in (({"image_size": 8}, "at least 16"), ({"grey": True}, "grey"), ({"labels": ["a"]}, "labels")):
        with pytest.raises(UserError, match=words):
            open_store(Data(**{"source": "emoji", "image_size": 32, "count": 100, **change}))


def test_captions_of_scenes_do_not_matter_to_a_folder(tmp_path: Path) -> None:
    folder = str(write_pictures(tmp_path / "pictures"))
    digests = {open_store(Data(source=folder, image_size=16, captions=k)).digest for k in (1, 4)}
    assert len(digests) == 1


def test_only_the_emoji_are_drawn(tmp_path: object) -> None:
    with pytest.raises(UserError, match=r"data\.count"):
        open_store(Data(source="cifar10", count=100))
    with pytest.raises(UserError, match="square"):
        open_store(Data(source="emoji", image_size=(64, 128), count=100))
