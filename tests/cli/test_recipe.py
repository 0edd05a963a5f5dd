"""`sfumato recipe`: print, edit, train."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfumato.recipe.recipe import load, shipped
from sfumato.runs.folder import RunFolder

from ..tiny import recipe_of, write_pictures
from .test_commands import Sfumato, sfumato

__all__ = ["sfumato"]


def test_without_a_name_the_shipped_recipes_are_listed(sfumato: Sfumato) -> None:
    answer = sfumato("recipe")
    assert answer.status == 0
    rows = [line.split(maxsplit=1) for line in answer.out.splitlines()]
    assert rows == [[name, load(name).about] for name in shipped()]
    assert sfumato("recipe", "--json").json() == {"recipes": {name: load(name).about for name in shipped()}}


def test_one_is_printed_whole(sfumato: Sfumato) -> None:
    answer = sfumato("recipe", "photo", "train.lr=5e-4", "data.labels=[a, b]")
    assert (answer.status, answer.err) == (0, "")
    Path("my.yaml").write_text(answer.out, encoding="utf-8")
    assert load("my.yaml") == load("photo", ["train.lr=5e-4", "data.labels=[a, b]"])
    plain = sfumato("recipe", "my.yaml", "--json").json()
    assert plain == load("my.yaml").model_dump(mode="json")


def test_what_is_printed_is_trained(sfumato: Sfumato, tmp_path: Path) -> None:
    recipe = recipe_of(write_pictures(tmp_path / "pictures"), train={"images": 32})
    Path("first.yaml").write_text(recipe.dump(), encoding="utf-8")
    Path("my.yaml").write_text(sfumato("recipe", "first.yaml", "train.images=16").out, encoding="utf-8")
    assert sfumato("train", "my.yaml", "--json").json()["images"] == 16
    run = RunFolder(tmp_path / "runs" / "my")
    printed = sfumato("recipe", run.path)
    Path("again.yaml").write_text(printed.out, encoding="utf-8")
    assert load("again.yaml") == run.recipe()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["shape"], "did you mean shapes?"),
        (["shapes", "train.bach=3"], "did you mean train.batch?"),
        (["shapes", "train.batch"], "KEY=VALUE"),
        ([""], "no recipe"),
        (["."], "no recipe"),
    ],
)
def test_what_cannot_be_printed_is_one_line(sfumato: Sfumato, words: list[str], reason: str) -> None:
    answer = sfumato("recipe", *words)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert reason in answer.err
