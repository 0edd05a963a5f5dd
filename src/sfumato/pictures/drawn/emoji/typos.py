"""One misspelling: two letters swapped, one omitted, doubled, mistyped or inserted, or another vowel."""

from __future__ import annotations

import random
from collections.abc import Set

NEAR = {
    **{"q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl"},
    **{"p": "ol", "a": "qsz", "s": "adw", "d": "sfe", "f": "dgr", "g": "fht", "h": "gjy", "j": "hku", "k": "jli"},
    **{"l": "ko", "z": "xa", "x": "zcs", "c": "xvd", "v": "cbf", "b": "vng", "n": "bmh", "m": "nk"},
}
SHORTEST = 4
VOWELS, LETTERS = "aeiou", "aehilnrstu"  # the second: letters that are inserted


def mistype(text: str, rng: random.Random, ordinary: Set[str], known: Set[str]) -> str:
    """The text with one misspelling inside one word that is not in `ordinary`; it never makes another known word."""
    words = text.split(" ")
    at = [k for k, word in enumerate(words) if len(word) >= SHORTEST and word.isalpha() and word not in ordinary]
    if not at:
        return text
    k = at[int(rng.random() * len(at))]
    slipped = slip(words[k], rng)
    if slipped in known:
        return text
    words[k] = slipped
    return " ".join(words)


def slip(word: str, rng: random.Random) -> str:
    """A word of at least three letters with one misspelling after its first letter."""
    kind, k = int(rng.random() * 6), 1 + int(rng.random() * (len(word) - 2))
    if kind == 0:
        return word[:k] + word[k + 1] + word[k] + word[k + 2 :]
    if kind == 1:
        return word[:k] + word[k + 1 :]
    if kind == 2:
        return word[:k] + word[k] + word[k:]
    if kind == 3:
        return word[:k] + LETTERS[int(rng.random() * len(LETTERS))] + word[k:]
    vowels = [place for place in range(1, len(word)) if word[place] in VOWELS]
    if kind == 4 and vowels:
        k = vowels[int(rng.random() * len(vowels))]
        near = VOWELS.replace(word[k], "")
    else:
        near = NEAR.get(word[k], word[k])
    return word[:k] + near[int(rng.random() * len(near))] + word[k + 1 :]
