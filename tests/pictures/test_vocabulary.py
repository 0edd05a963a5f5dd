from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import UserError
from sfumato.pictures.vocabulary import LONGEST, Vocabulary


def test_classes_keep_their_order_and_zero_means_nothing() -> None:
    vocabulary = Vocabulary.build("class", ["dog", "cat", None, "dog", "ant"])
    assert vocabulary.words == ["dog", "cat", "ant"]
    assert (vocabulary.size, vocabulary.length) == (4, 1)
    assert vocabulary.encode(["cat", "", "dog"]).tolist() == [[2], [0], [1]]


def test_words_are_lower_case_and_padded() -> None:
    vocabulary = Vocabulary.build("words", None, ["A red car.", "a well-known dog's car", ""])
    assert vocabulary.words == ["a", "car", "dog's", "red", "well-known"]
    assert vocabulary.length == 4
    assert vocabulary.encode(["a RED car!", ""]).tolist() == [[1, 4, 2, 0], [0, 0, 0, 0]]


def test_none_has_no_tokens() -> None:
    vocabulary = Vocabulary.build("none", ["a"], ["b"])
    assert vocabulary.size == 1
    assert vocabulary.encode(["whatever", ""]).shape == (2, 0)
    assert vocabulary.encode([]).shape == (0, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a rde car", "unknown word 'rde'; did you mean 'red'?"),
        ("a zebra", "unknown word 'zebra'; known: a, car, red"),
        ("a a a a", "has 4 words; this model takes at most 3"),
    ],
)
def test_what_cannot_be_told_is_named(text: str, message: str) -> None:
    vocabulary = Vocabulary.build("words", None, ["a red car"])
    with pytest.raises(UserError) as caught:
        vocabulary.encode(["a car", text])
    assert message in str(caught.value)


def test_unknown_label_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown label 'Airplan'; did you mean 'airplane'\?"):
        Vocabulary.build("class", ["airplane", "cat"]).encode(["Airplan"])


def test_data_without_labels_captions_or_with_endless_ones() -> None:
    with pytest.raises(UserError, match="no labels"):
        Vocabulary.build("class", [None, None])
    with pytest.raises(UserError, match="no captions"):
        Vocabulary.build("words", ["cat"], None)


def test_captions_that_are_too_long_or_hold_new_words_are_heard_in_part(caplog: pytest.LogCaptureFixture) -> None:
    endless = " ".join(f"w{k}" for k in range(LONGEST + 9))
    vocabulary = Vocabulary.build("words", None, [endless, "a red car"])
    assert vocabulary.length == LONGEST
    assert f"1 captions have more than {LONGEST} words" in caplog.text
    assert vocabulary.encodable(["A red boat, a car"]) == ["a red a car"]
    assert vocabulary.encode(vocabulary.encodable([endless])).count_nonzero() == LONGEST
    assert Vocabulary.build("class", ["cat"]).encodable(["dog"]) == [""]
    assert Vocabulary("words", [], 9).encodable(["anything at all"]) == ["anything at all"]


@settings(max_examples=40)
@given(st.lists(st.text(), min_size=1, max_size=8), st.sampled_from(["none", "class", "words"]))
def test_json_keeps_everything(texts: list[str], kind: str) -> None:
    try:
        vocabulary = Vocabulary.build(kind, texts, texts)  # type: ignore[arg-type]
    except UserError:
        return
    copied = Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert copied == vocabulary
    tokens = vocabulary.encode(texts)
    assert tokens.shape == (len(texts), vocabulary.length)
    assert tokens.numel() == 0 or tokens.max() < vocabulary.size
