"""A learned tokenizer: CLIP's format and order, the same tokens from the same captions, reserved words whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from sfumato.errors import UserError
from sfumato.pictures.split import RESERVED
from sfumato.pictures.tokenizer import END, START, byte_pairs, learn_tokenizer

CAPTIONS = ["a red car on a road", "a blue house", "a small cat, on the left"] * 20


def test_merges_are_those_of_the_paper() -> None:
    """Sennrich et al. 2016, figure 1: low, lower, newest, widest."""
    counts = Counter({"low": 5, "lower": 2, "newest": 6, "widest": 3})
    assert byte_pairs(counts, 3) == [("e", "s"), ("es", "t</w>"), ("l", "o")]


def test_rare_pairs_are_not_merged() -> None:
    assert byte_pairs(Counter({"ab": 1}), 9) == []
    assert byte_pairs(Counter({"aaa": 2}), 9) == [("a", "a"), ("aa", "a</w>")]


def test_the_same_captions_give_the_same_tokens() -> None:
    first, second = (learn_tokenizer(captions, 800, 16).get_vocab() for captions in (CAPTIONS, CAPTIONS[::-1]))
    assert first == second


def test_the_order_is_clips_and_words_are_whole() -> None:
    made = learn_tokenizer(CAPTIONS, 800, 16)
    vocabulary = made.get_vocab()
    assert (vocabulary[START], vocabulary[END]) == (len(made) - 2, len(made) - 1)
    assert vocabulary["!"] < 256 <= vocabulary["!</w>"] < 512
    assert made.tokenize("A Red  cat, on the left") == [
        "a</w>",
        "red</w>",
        "cat</w>",
        ",</w>",
        "on</w>",
        "the</w>",
        "left</w>",
    ]
    assert made.model_max_length == 16


def test_reserved_words_are_one_token_each_and_in_no_caption() -> None:
    made = learn_tokenizer(CAPTIONS, 800, 16)
    assert len(set(RESERVED)) == 32
    assert all(len(made.tokenize(word)) == 1 for word in RESERVED)


def test_any_text_goes_in_and_comes_back(tmp_path: Path) -> None:
    made = learn_tokenizer(CAPTIONS, 800, 64)
    made.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    for text in ("ein süßer kater 猫", "zarnu!", "1234 x"):
        ids = made(text).input_ids
        assert ids == again(text).input_ids
        assert made.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


def test_too_few_words_is_said() -> None:
    with pytest.raises(UserError, match=r"text\.words=600"):
        learn_tokenizer(CAPTIONS, 600)
