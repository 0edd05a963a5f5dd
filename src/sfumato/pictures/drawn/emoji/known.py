"""The vocabulary of the captions of `phrases.sentence`, and so of a base that was trained on them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from sfumato.files import Json
from sfumato.pictures.drawn.emoji.forms import forms
from sfumato.pictures.drawn.emoji.things import taught
from sfumato.pictures.drawn.emoji.words import called, other_words
from sfumato.pictures.split import split

PLACEHOLDER = re.compile(r"\{\w+\}")
ALWAYS = "a an the one a single some there is are please on next to background two three"


@functools.cache
def known() -> frozenset[str]:
    """Every word that a training caption can contain, in lower case, without misspellings."""
    names = [text for name in taught() for text in (name, *other_words(name))]
    plurals = [word.plural for name in taught() for word in called(name).counted]
    return ordinary().union(*map(split, (*names, *plurals)))


@functools.cache
def ordinary() -> frozenset[str]:
    """The words of captions that do not name things: openings, colours, places, numbers."""
    return frozenset().union(*(split(PLACEHOLDER.sub(" ", text)) for text in (ALWAYS, *_leaves(forms()))))


def _leaves(node: Json | tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, dict):
        for key in sorted(node):
            yield from _leaves(node[key])
    else:
        yield from dict.fromkeys(node)
