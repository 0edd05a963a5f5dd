"""A printed recipe explains every line and is the recipe; the page of all keys is the one that the code makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import BaseModel

from sfumato import yaml12
from sfumato.recipe.document import page
from sfumato.recipe.explain import explain, headings
from sfumato.recipe.recipe import Recipe, build, load, shipped

from .test_recipe import SECTIONS

ROOT = Path(__file__).parents[2]


def leaves(kind: type[BaseModel], prefix: str = "") -> set[str]:
    """All keys that hold a value."""
    found: set[str] = set()
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= leaves(inner, f"{name}.")
        else:
            found.add(prefix + name)
    return found


@pytest.mark.parametrize("name", shipped())
def test_a_printed_recipe_is_the_recipe(name: str, tmp_path: Path) -> None:
    recipe = load(name)
    (tmp_path / "my.yaml").write_text(explain(recipe), encoding="utf-8")
    assert load(tmp_path / "my.yaml") == recipe


@settings(max_examples=80)
@given(SECTIONS)
def test_any_recipe_is_printed_to_be_read_again(values: dict[str, Any]) -> None:
    recipe = build(values)
    assert build(yaml12.read(explain(recipe))) == recipe


@pytest.mark.parametrize(
    "text", ["a: b # c", "'", '"', "x\ny", "\x1b[31m", "{a}", "[", "- a", "no", "1e3", "", "é😀", " a "]
)
def test_no_text_breaks_its_line(text: str) -> None:
    recipe = build({"about": text, "data": {"labels": [text, "b"]}})
    printed = explain(recipe)
    assert build(yaml12.read(printed)) == recipe
    assert printed.count("\n") == explain(Recipe()).count("\n")
    assert all(sign.isprintable() or sign == "\n" for sign in printed)


def test_every_line_has_a_comment() -> None:
    for line in explain(load("mini")).splitlines():
        assert not line or "  # " in line


def test_every_key_is_explained_once() -> None:
    entries = [entry for heading in headings() for entry in heading.entries]
    assert sorted(entry.key for entry in entries) == sorted(leaves(Recipe))
    for entry in entries:
        assert len(entry.meaning.split()) >= 2, entry.key
        assert not entry.meaning.endswith("."), entry.key
        assert "value" not in entry.values.split(), f"{entry.key}: a type without words"
    for heading in headings():
        assert heading.meaning.endswith("."), heading.name


@pytest.mark.parametrize(
    ("key", "values", "default"),
    [
        ("train.lr", "number, above 0", "0.001"),
        ("train.batch", "whole number, 1 or more", "64"),
        ("train.seed", "whole number, 0 or more, below 2^63", "0"),
        ("train.ema", "list of numbers, at least 1", "[0.05, 0.1]"),
        ("train.betas", "list of 2 numbers", "[0.9, 0.99]"),
        ("train.drop_condition", "number, 0 to 1", "0.1"),
        ("train.tracker", "tensorboard or wandb", "left out"),
        ("data.held_out", "number, above 0, below 0.5", "0.05"),
        ("data.image_size", "whole number or list of 2 whole numbers", "left out"),
        ("data.labels", "list of texts", "left out"),
        ("data.grey", "true or false", "left out"),
        ("net.stem", "1, 2 or 4", "left out"),
        ("net.attention", "list of true or false", "left out"),
        ("text.width", "whole number, 32 or more, a multiple of 32", "192"),
        ("tune.noun", "text", "empty"),
        ("task", "generate, denoise, features, autoencoder, text, tune or package.module:Name", "generate"),
        ("net.options", "mapping", "{}"),
        ("judge.metrics", "list of coverage or package.module:Name", "[]"),
    ],
)
def test_values_are_in_words(key: str, values: str, default: str) -> None:
    entry = next(entry for heading in headings() for entry in heading.entries if entry.key == key)
    assert (entry.values, entry.default) == (values, default)


def test_the_page_of_all_keys_is_as_the_code_makes_it() -> None:
    """Mend with: python -m sfumato.recipe.document > docs/recipes.md."""
    assert (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8") == page()
