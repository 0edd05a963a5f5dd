"""The words of a base's training captions, and the words of a prompt that are not among them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.pictures.split import RESERVED, split

FILE = "words.json"  # beside model_index.json
PLURALS = (("ies", "y"), ("es", ""), ("s", ""))
SHORTEST = 2  # letters of a word whose plural is recognised
ALIKE, LETTERS = 0.75, 3  # a suggested word has at least this difflib ratio and so many letters
NAMED = 8  # words that one warning names


@dataclass(frozen=True)
class Unknown:
    """A word of a prompt that was in no training caption. nearest: a known word to use instead, or None."""

    word: str
    nearest: str | None = None


@dataclass(frozen=True)
class Words:
    """The words of a base.

    known: the words of its training captions, in lower case; synonyms: other words, each with a known word of the same
    meaning.
    """

    known: frozenset[str]
    synonyms: Mapping[str, str] = field(default_factory=dict)

    def unknown(self, text: str) -> list[Unknown]:
        """The unknown words of a text, each once, in order.

        Plurals of known words are known, and so are the words reserved as triggers.
        """
        return [Unknown(word, self.nearest(word)) for word in self.missing([text])]

    def missing(self, texts: Iterable[str]) -> list[str]:
        """The unknown words of texts, each once, in order."""
        every = dict.fromkeys(word for text in texts for word in split(text))
        return [word for word in every if not self.knows(word)]

    def knows(self, word: str) -> bool:
        """Whether a word is known, the plural of a known word, or reserved as a trigger."""
        return word in RESERVED or any(each in self.known for each in singulars(word))

    def nearest(self, word: str) -> str | None:
        """A known word of the same meaning, else its plural or a similarly spelled word, else None."""
        for each in singulars(word):
            if each in self.synonyms:
                return self.synonyms[each]
        known = sorted(each for each in self.known if len(each) >= LETTERS)
        plural = [each for each in known if word in singulars(each)]
        close = plural or difflib.get_close_matches(word, known, 1, ALIKE)
        return close[0] if close else None

    def also(self, texts: Iterable[str]) -> Words:
        """These words and also those of texts, such as a LoRA's trigger."""
        return Words(self.known.union(*map(split, texts)), self.synonyms)

    def to_json(self) -> Json:
        """The content of words.json."""
        return {"words": sorted(self.known), "synonyms": dict(sorted(self.synonyms.items()))}

    @classmethod
    def from_json(cls, values: Json, where: str) -> Words:
        """The words of a words.json. where: its path, for the error. Raises UserError if it does not list words."""
        try:
            known, synonyms = list(values["words"]), dict(values.get("synonyms") or {})
            if not all(isinstance(word, str) for word in (*known, *synonyms, *synonyms.values())):
                raise TypeError
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f'{where} does not list words: {{"words": [...], "synonyms": {{...}}}}') from error
        return cls(frozenset(known), synonyms)


def words_of(captions: Iterable[str], synonyms: Mapping[str, str] | None = None) -> Words:
    """The words of captions, with synonyms (other words, each with a known word)."""
    return Words(frozenset().union(*map(split, dict.fromkeys(captions))), dict(synonyms or {}))


def singulars(word: str) -> list[str]:
    """The word itself, and the words of which it may be the plural."""
    singular = [word]
    for ending, instead in PLURALS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST:
            singular.append(word.removesuffix(ending) + instead)
    return singular


def warning(name: str, known: Words, texts: Iterable[str]) -> str | None:
    """One line that names the words of texts that the base `name` does not know; None if it knows all of them."""
    missing = known.missing(texts)
    if not missing:
        return None
    each = [Unknown(word, known.nearest(word)) for word in missing[:NAMED]]  # the search is slow
    more = f" and {len(missing) - NAMED} more" if missing[NAMED:] else ""
    line = f"{name} does not know {', '.join(repr(u.word) for u in each)}{more}"
    near = [u for u in each if u.nearest]
    if near and len(missing) == 1:
        return f"{line}; its nearest word is '{near[0].nearest}'"
    return f"{line}; nearest: " + ", ".join(f"'{u.nearest}' for '{u.word}'" for u in near) if near else line
