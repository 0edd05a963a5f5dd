"""Conditions of pixel models as tokens: none, one label, or the words of a caption."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sfumato.errors import UserError
from sfumato.files import Json

WORD = re.compile(r"\w+(?:['’-]\w+)*")
LONGEST = 77  # words of a caption
Kind = Literal["none", "class", "words"]


@dataclass(frozen=True)
class Vocabulary:
    """Token 0 means "nothing", token k + 1 is `words[k]`; every text becomes `length` tokens.

    kind "none": no tokens (length 0). "class": one label name a text. "words": the caption's words, lower
    case. The empty text is all zeros.
    """

    kind: Kind
    words: list[str]
    length: int

    @property
    def size(self) -> int:
        """Rows of the table: the words and "nothing"."""
        return len(self.words) + 1

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts as tokens, int64 (N, length).

        Raises UserError naming an unknown word or label and the nearest known one, or a text that is too
        long.
        """
        numbers = {word: number for number, word in enumerate(self.words, 1)}
        known: dict[str, list[int]] = {}
        for text in texts:
            if text not in known:
                known[text] = self._tokens(text, numbers)
        return torch.tensor([known[text] for text in texts], dtype=torch.int64).reshape(len(texts), self.length)

    def encodable(self, texts: Sequence[str]) -> list[str]:
        """Texts of the data without unknown words and words beyond `length`, so that `encode` accepts them."""
        known = set(self.words)
        if not known:
            return list(texts)
        if self.kind == "class":
            return [text if text in known else "" for text in texts]
        short = {}
        for text in set(texts):
            words = _words(text)
            kept = [word for word in words if word in known][: self.length]
            short[text] = text if len(kept) == len(words) else " ".join(kept)
        return [short[text] for text in texts]

    def to_json(self) -> Json:
        return {"kind": self.kind, "words": self.words, "length": self.length}

    @classmethod
    def from_json(cls, values: Json) -> Vocabulary:
        return cls(values["kind"], list(values["words"]), int(values["length"]))

    @classmethod
    def build(
        cls, kind: Kind, labels: Sequence[str | None] | None = None, captions: Sequence[str] | None = None
    ) -> Vocabulary:
        """The vocabulary of a data set: its label names in their order, or its captions' words sorted.

        A caption is cut after 77 words, with a warning. Raises UserError if the data has no labels or no captions.
        """
        if kind == "none":
            return cls(kind, [], 0)
        if kind == "class":
            names = [name for name in dict.fromkeys(labels or ()) if name]
            if not names:
                raise UserError(
                    "data.condition=class, but the pictures have no labels: put them into one folder per label"
                )
            return cls(kind, names, 1)
        lists = {text: _words(text) for text in dict.fromkeys(captions or ())}
        words = sorted({word for each in lists.values() for word in each[:LONGEST]})
        if not words:
            raise UserError("data.condition=words, but the pictures have no captions: put NAME.txt beside each picture")
        if long := sum(len(each) > LONGEST for each in lists.values()):
            logging.getLogger(__name__).warning(
                "%d captions have more than %d words: the words beyond are left out", long, LONGEST
            )
        return cls(kind, words, min(LONGEST, max(map(len, lists.values()))))

    def _tokens(self, text: str, numbers: dict[str, int]) -> list[int]:
        if self.kind == "none" or not text:
            return [0] * self.length
        if self.kind == "class":
            return [self._number(text, numbers, "label")]
        words = _words(text)
        if len(words) > self.length:
            raise UserError(f"{text[:40]!r} has {len(words)} words; this model takes at most {self.length}")
        return [self._number(word, numbers, "word") for word in words] + [0] * (self.length - len(words))

    def _number(self, word: str, numbers: dict[str, int], what: str) -> int:
        if word in numbers:
            return numbers[word]
        raise UserError(f"unknown {what} {word!r}; {nearest(word, self.words)}")


PURE, CLIPPED = "pure", "clipped"
NOISE = Vocabulary("class", [PURE, CLIPPED], 1)
"""The condition of a denoiser that was trained for both kinds of noise."""


def nearest(word: str, known: Sequence[str]) -> str:
    """The end of an error message about an unknown name: the most similar known name, or all of them."""
    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), folded, 1)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    some = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    return f"known: {some}"


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())
