"""`train.epochs`: passes over the training pictures, turned into images once these are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

import sfumato
from sfumato import yaml12
from sfumato.errors import UserError
from sfumato.recipe.explain import explain
from sfumato.recipe.recipe import Recipe, build, load
from sfumato.runs.folder import RunFolder
from sfumato.training import start
from sfumato.tuning.preset import Preset
from sfumato.tuning.start import begin

from ..tiny import recipe_of, write_pictures

BOTH = r"train: images and epochs are both set: keep one of them"
SMALL = ("net.channels=[16,32]", "net.attention=[false,true]", "net.blocks=1", "train.batch=16", "train.precision=fp32")


@pytest.mark.parametrize(("epochs", "pictures", "images"), [(5, 50_000, 250_000), (0.5, 49, 24), (1e-6, 10, 1)])
def test_epochs_become_images(epochs: float, pictures: int, images: int) -> None:
    counted = build({"train": {"epochs": epochs}}).in_images(pictures)
    assert (counted.train.images, counted.train.epochs) == (images, None)
    assert counted.in_images(7) == counted


def test_without_epochs_nothing_changes() -> None:
    recipe = build({"train": {"images": 5}})
    assert recipe.in_images(100) is recipe
    assert "epochs" not in recipe.dump()


def test_epochs_are_written_and_read(tmp_path: Path) -> None:
    recipe = build({"name": "mine", "train": {"epochs": 2.5}})
    for written in (recipe.dump(), explain(recipe)):
        values = yaml12.read(written)
        assert values["train"]["epochs"] == 2.5
        assert "images" not in values["train"]
        assert build(values) == recipe
    assert recipe.with_({"train.lr": 0.5}).train.epochs == 2.5


def test_the_later_length_replaces_the_earlier(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("train: {images: 5}")
    recipe = load(tmp_path / "mine.yaml", ["train.epochs=3"])
    assert recipe.train.epochs == 3
    assert recipe.with_({"train.images": 7}).train.epochs is None
    assert recipe.with_({"train.images": 7}).train.images == 7
    assert build(recipe.model_dump(), ["train.images=9"]).in_images(1).train.images == 9
    assert load(tmp_path / "mine.yaml", ["train.epochs=null"]).train.images == 5


def test_both_lengths_at_once_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("train: {images: 5, epochs: 3}")
    with pytest.raises(UserError, match=BOTH):
        load(tmp_path / "mine.yaml")
    with pytest.raises(UserError, match=BOTH):
        load("shapes", ["train.images=5", "train.epochs=3"])
    with pytest.raises(UserError, match=BOTH):
        Recipe().with_({"train.epochs": 5, "train.images": 3})


@pytest.mark.parametrize("value", ["0", "-1", ".inf", ".nan", "1e300", "many", "[1]"])
def test_a_bad_number_is_one_line(value: str) -> None:
    with pytest.raises(UserError, match=r"^recipe: train\.epochs: ") as caught:
        build({}, [f"train.epochs={value}"])
    assert "\n" not in str(caught.value)


def test_a_training_in_epochs_goes_on(tmp_path: Path) -> None:
    """48 of 60 pictures are learned from."""
    recipe = recipe_of(write_pictures(tmp_path / "pictures"))
    (tmp_path / "mine.yaml").write_text(recipe.dump())
    out = tmp_path / "run"
    sfumato.train(tmp_path / "mine.yaml", ["train.epochs=1"], out)
    assert RunFolder(out).recipe().train.images == 48
    sfumato.train(tmp_path / "mine.yaml", ["train.epochs=1"], out)
    sfumato.train(out, ["train.epochs=2"])
    starts = RunFolder(out).events("start")
    assert [event["images"] for event in starts] == [0, 48, 48]
    assert [event["of"] for event in starts] == [48, 48, 96]
    assert start.prepare(out).recipe.train.images == 96


def test_a_folder_is_trained_for_as_many_passes_as_given(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures")
    job = start.prepare(pictures, [*SMALL, "train.epochs=3"], tmp_path / "run")
    assert job.recipe.train.images == 3 * len(job.store.train)


def test_a_tuning_counts_steps(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.epochs: .*--steps"):
        begin(Preset("mini").recipe("mini").with_({"data.source": str(tmp_path)}), ["train.epochs=3"])
