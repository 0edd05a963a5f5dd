"""Captions are read from the photos: background, size and place."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sfumato
from sfumato.models.latent import LatentModel
from sfumato.pictures.drawn import toycar
from sfumato.pictures.drawn.emoji.scene import BACKGROUNDS, PLACES, SIZES, Scene
from sfumato.pictures.drawn.emoji.things import subjects
from sfumato.pictures.folder import FolderSource
from sfumato.recipe.sections import Data
from sfumato.tuning.photos.captions import described, describes, framing
from sfumato.tuning.photos.photos import check
from sfumato.tuning.photos.photoset import prepare
from sfumato.tuning.photos.subject import find

from .conftest import base


def test_size_and_place_are_where_the_detail_lies() -> None:
    for k, name in enumerate(subjects()):
        size, place = list(SIZES)[k % 3], list(PLACES)[k % 5]
        scene = Scene((name,), list(BACKGROUNDS)[k % 10], size, "" if size == "large" else place)
        assert framing(find(scene.draw().transpose(2, 0, 1))) == (scene.size, scene.place)


def test_photos_are_told_as_they_are(tmp_path: Path) -> None:
    scenes = [Scene(("panda",), paper, "small", "at the top") for paper in ("blue", "white", "orange", "pink", "green")]
    for k, scene in enumerate(scenes):
        Image.fromarray(scene.draw((160, 160))).save(tmp_path / f"{k}.png")
    (tmp_path / "4.txt").write_text("as I say")
    model = sfumato.load("mini", device="cpu")
    assert isinstance(model, LatentModel)
    say = partial(described, thing="zarnu bear")
    found = prepare(check(tmp_path, 64), model, "a zarnu bear", "zarnu", 2, False, 0, say)
    assert found.captions[:4] == [
        Scene(("zarnu bear",), scene.background, "small", "at the top").caption() for scene in scenes[:4]
    ]
    assert found.captions[4] == "a zarnu bear, as I say"


def test_captions_are_read_as_a_training_reads_them(tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    for k in range(8):
        Image.fromarray(Scene(("panda",), list(BACKGROUNDS)[k]).draw((160, 160))).save(tmp_path / "drawn" / f"{k}.png")
    folder = tmp_path / "drawn"
    (folder / "0.txt").write_text("from a text")
    (folder / "1.TXT").write_text("from a loud text")
    (folder / "2.caption").write_text("from a caption")
    (folder / "3.txt").write_text("the text before")
    (folder / "3.caption").write_text("the caption")
    (folder / "4.txt").write_text("metadata is more")
    (folder / "5.txt").write_bytes(b"\xff\xfe\xff")
    (folder / "metadata.jsonl").write_text('{"file_name": "4.png", "text": "from JSON lines"}\n')
    (folder / "metadata.csv").write_text("file_name,caption\n6.png,from a table\ngone.png,x\n")
    expected = ["from a text", "from a loud text", "from a caption", "the text before", "from JSON lines", None,
                "from a table", None]  # fmt: skip
    report = check(folder, 64)
    assert [report.captions.get(folder / f"{k}.png") for k in range(8)] == expected
    trained = FolderSource(folder, Data())
    assert [item.caption for item in trained.items("train")] == expected
    assert [note for note in trained.notes if "taken" not in note] == report.notes
    assert "caption of 5.png left out: not UTF-8" in report.notes
    model = sfumato.load("mini", device="cpu")
    assert isinstance(model, LatentModel)
    found = prepare(report, model, "a zarnu bear", "zarnu", 1, False, 0)
    assert found.captions[2] == "a zarnu bear, from a caption"
    assert found.captions[6] == "a zarnu bear, from a table"


def test_a_trigger_is_a_whole_word(tmp_path: Path) -> None:
    texts = ["a brown bear", "an own bear", "Own, on a road", "ownership", "{trigger} alone"]
    for k, text in enumerate(texts):
        Image.fromarray(Scene(("panda",), list(BACKGROUNDS)[k]).draw((160, 160))).save(tmp_path / f"{k}.png")
        (tmp_path / f"{k}.txt").write_text(text)
    found = prepare(check(tmp_path, 64), base(), "an own bear", "own", 1, False, 0)
    assert found.captions == [
        "an own bear, a brown bear", "an own bear", "Own, on a road", "an own bear, ownership", "own alone",
    ]  # fmt: skip


def test_a_toy_car_is_told_as_it_was_drawn() -> None:
    told = [described(np.asarray(toycar.draw(view, 64)).transpose(2, 0, 1), "zarnu car") for view in toycar.VIEWS]
    for text, paper in zip(told, ("white", "blue", "green", "yellow", "grey", "pink"), strict=True):
        assert f"on a {paper} background" in text


def test_a_border_of_no_named_colour_is_not_told() -> None:
    picture = Scene(("panda",), "white").draw().transpose(2, 0, 1).copy()
    picture[:, picture.min(0) >= 248] = np.array([120, 160, 20], np.uint8)[:, None]
    assert described(picture, "zarnu bear") == "a zarnu bear"


def test_only_a_base_of_the_drawn_world_is_told_so() -> None:
    model = sfumato.load("mini", device="cpu")
    assert isinstance(model, LatentModel)
    assert describes(model)
    assert not describes(base())


@pytest.mark.parametrize("picture", [np.zeros((3, 64, 64), np.uint8), np.full((3, 64, 64), 255, np.uint8)])
def test_nothing_to_see_is_no_error(picture: np.ndarray) -> None:
    size, place = framing(find(picture))
    assert size in SIZES
    assert place in PLACES
