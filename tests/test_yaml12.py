"""YAML 1.2: labels such as `no` stay words, numbers such as 1e6 are numbers, and what is written is read again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfumato import yaml12
from sfumato.recipe.recipe import build, load

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"))
WORDS = st.sampled_from(
    ["no", "Yes", "on", "OFF", "1e6", "1e-4", "2001-01-01", "true", "null", "~", "1_000", "0x1f", ""]
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("[on, Off, yes]", ["on", "Off", "yes"]), ("true", True), ("False", False), ("1e6", 1e6),
        ("-1.5e-3", -1.5e-3), (".5", 0.5), ("12", 12), ("1.", 1.0), ("2001-01-01", "2001-01-01"), ("~", None),
        (".inf", float("inf")), ("1e", "1e"), ("e1", "e1"), ("-", [None]),
    ],
)  # fmt: skip
def test_plain_values(text: str, value: Any) -> None:
    found = yaml12.read(text)
    assert found == value
    assert type(found) is type(value)


@example("\x85")
@example({"\u2028": ["\u2029 "]})
@given(
    st.recursive(PLAIN | WORDS, lambda inner: st.lists(inner) | st.dictionaries(st.text("abcno1", min_size=1), inner))
)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert yaml12.read(yaml12.write(value)) == value


def test_recipes_read_it(tmp_path: Any) -> None:
    (tmp_path / "mine.yaml").write_text("data: {source: shapes, labels: [no, yes]}\ntrain: {images: 1e6, lr: 1e-3}")
    recipe = load(tmp_path / "mine.yaml")
    assert recipe.data.labels == ("no", "yes")
    assert recipe.train.images == 1_000_000
    assert build({}, ["data.labels=[off]", "train.images=2e5"]).data.labels == ("off",)
