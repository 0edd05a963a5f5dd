"""The words for the things: names, synonyms, and how each word is used in a sentence."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from sfumato import yaml12
from sfumato.pictures.drawn.emoji import english
from sfumato.pictures.drawn.emoji.things import taught, things


@dataclass(frozen=True)
class Word:
    """A name of a thing. article: "a " or "an "; number: as english.number; plural: "" if it is not counted."""

    text: str
    article: str
    number: str
    plural: str


@dataclass(frozen=True)
class Called:
    """name: a thing's name, or a noun in its place; others: synonyms, common ones repeated; counted: those with a
    plural; paired: one drawing shows "a pair of" them."""

    name: Word
    others: tuple[Word, ...]
    counted: tuple[Word, ...]
    paired: bool


@functools.cache
def _listed() -> dict[str, dict[str, list[str]]]:
    listed: dict[str, dict[str, list[str]]] = yaml12.read(
        (resources.files(__package__) / "names.yaml").read_text(encoding="utf-8")
    )
    return listed


@functools.cache
def shared() -> dict[str, tuple[str, ...]]:
    """Word -> the things that it can mean, the most typical first; only words with several meanings."""
    return {word: tuple(names) for word, names in _listed()["shared"].items()}


def other_words(name: str) -> list[str]:
    """All synonyms of a thing, the commonest first. Raises KeyError if there is no such thing."""
    own = _listed()["names"][name]
    return [*own[:1], *(word for word, names in shared().items() if name in names), *own[1:]]


def synonyms(names: Iterable[str] | None = None) -> dict[str, str]:
    """Word or phrase -> the name of the thing that it most likely means; of the things in training, or of `names`."""
    chosen = set(taught() if names is None else names)
    listed = {word: name for name in things() if name in chosen for word in _listed()["names"][name]}
    return listed | {word: typical for word, (typical, *_) in shared().items() if typical in chosen}


@functools.cache
def called(name: str) -> Called:
    """The words for a thing. Raises KeyError if there is no such thing."""
    others = [_word(word) for word in other_words(name)]
    first = others[0] if name in english.NO_NOUNS else _word(name)
    common = tuple(word for k, word in enumerate(others) for _ in range(1 + 4 // (k + 1)))
    half = (first,) * len(common)
    counted = tuple(word for word in (*half, *common) if word.plural)
    return Called(first, common, counted, any(word.text.startswith("pair of ") for word in others))


def _word(text: str) -> Word:
    number = english.number(text)
    countable = number == "one" and text not in english.NEVER_COUNTED
    return Word(text, english.article(text), number, english.plural(text) if countable else "")
