"""Captions as people write them: `sentence` describes a scene, differently each time.

A caption states only facts of the scene. About a quarter are the template, `Scene.caption`. The forms and their
weights are in phrases.yaml, the words for things in names.yaml.
"""

from __future__ import annotations

import random

from sfumato.pictures.drawn.emoji import english, typos
from sfumato.pictures.drawn.emoji.forms import forms, one_of
from sfumato.pictures.drawn.emoji.known import known, ordinary
from sfumato.pictures.drawn.emoji.scene import Scene
from sfumato.pictures.drawn.emoji.words import Called, Word, called

PLAIN = 0.25  # share of captions by the template
TAGS, BACKGROUND_FIRST, OPENED, TYPED = 0.14, 0.24, 0.5, 0.05  # shares of the other captions
OMITTED_BACKGROUND, OMITTED_PLACE, OMITTED_SIZE = 0.15, 0.1, 0.1
OTHER_WORD = 0.5
MIDDLE, MEDIUM = 0.06, 0.02  # how often the default place or size is mentioned
FILLED, TYPO = 0.11, 0.135  # shares of the captions not by the template: 8 % and 10 % of all
KINDS = ("a",) * 30 + ("",) * 11 + ("the",) * 4 + ("one",) * 3 + ("a single",)
SIDES = ("left", "on the left ", "on the right ", "to the left ")
FIRST_PLACES = ("on the", "at the", "in the", "near the")
JOINED = (
    "on ",
    "against ",
    "with ",
    "in ",
    "over ",
    "surrounded ",
    "before ",
    "placed ",
    "set ",
    "and ",
    ",",
    " ",
    ";",
)
ARE = ("two ", "2 ", "three ", "3 ", "twin ", "exactly ", "the two ", "the three ")


def sentence(scene: Scene, rng: random.Random) -> str:
    """One caption of a scene as people write it: a pure function of the scene and the generator's state.

    The background is omitted with probability OMITTED_BACKGROUND, place and size with OMITTED_PLACE and OMITTED_SIZE.
    """
    mentioned = rng.random() >= OMITTED_BACKGROUND
    if rng.random() < PLAIN:
        return scene.caption(mentioned)
    filled = rng.random() < FILLED
    style = rng.random()
    ask = False
    if style < TAGS:
        text = _tags(scene, rng, mentioned)
    elif style < TAGS + BACKGROUND_FIRST and mentioned:
        text = _background_first(scene, rng, filled)
    else:
        text, ask = _thing_first(scene, rng, mentioned, filled)
    while filled and rng.random() < 0.5:
        text = f"{text}, {one_of(forms()['fillers']['after'], rng)}"
    if rng.random() < TYPO:
        text = typos.mistype(text, rng, ordinary(), known())
    return _ended(text, ask, rng)


def _thing_first(scene: Scene, rng: random.Random, mentioned: bool, filled: bool) -> tuple[str, bool]:
    """ "draw a cat on a blue background", and whether it is a question."""
    every = forms()
    text, are = _subject(scene, rng, one_of(KINDS, rng), filled)
    ask, opening = False, ""
    if len(scene.things) == 1 and rng.random() < TYPED:
        text = f"{text} {one_of(every['openings']['typed'], rng)}"
        are = False
    elif rng.random() < OPENED and not text.startswith(SIDES):
        share = rng.random()
        kind = "noun" if share < 0.4 else "verb" if share < 0.68 else "question" if share < 0.8 else "statement"
        ask = kind == "question"
        opening = one_of(every["openings"][kind], rng)
        text = f"{_agreed(opening, are)} {text}"
    behind = _background("after", scene, rng) if mentioned else one_of(every["background"]["none"], rng)
    bare = behind.endswith("background") and not behind.startswith(JOINED)  # "blue background" alone
    if behind and behind[0] not in ", ;":
        behind = f" {behind}"
    place = _place(scene, rng)
    if not place:
        return text + behind, ask
    order = rng.random()
    if order < 0.35:
        return f"{text}{behind}, {place}", ask
    if order < 0.62 and not bare:
        return f"{text} {place}{behind}", ask
    if order < 0.88 or opening or not place.startswith(FIRST_PLACES):
        return f"{text}{behind} {place}", ask
    there = f"there {'are' if are else 'is'} " if rng.random() < 0.3 else ""
    return f"{place}{' ' if there or rng.random() < 0.3 else ', '}{there}{text}{behind}", ask


def _background_first(scene: Scene, rng: random.Random, filled: bool) -> str:
    """ "on a blue background, a cat"."""
    every = forms()
    text, are = _subject(scene, rng, one_of(KINDS, rng), filled)
    if place := _place(scene, rng):
        text = f"{text}{', ' if rng.random() < 0.2 else ' '}{place}"
    if rng.random() < 0.6:
        return _agreed(_background("first", scene, rng), are).replace("{s}", text)
    whole = _background("before", scene, rng).replace("{s}", text)
    if rng.random() < 0.3:
        return f"{one_of(every['openings']['noun' if rng.random() < 0.5 else 'verb'], rng)} {whole}"
    return whole


def _tags(scene: Scene, rng: random.Random, mentioned: bool) -> str:
    """ "cat, blue background, left"."""
    every = forms()
    text, _ = _subject(scene, rng, "", False)
    parts = [text]
    if (scene.place or (len(scene.things) == 1 and rng.random() < MIDDLE)) and rng.random() >= OMITTED_PLACE:
        parts.append(one_of(every["place tags"][scene.place], rng))
    if mentioned:
        behind = _background("tag", scene, rng)
        parts.insert(0 if rng.random() < 0.35 else 1 if rng.random() < 0.7 else len(parts), behind)
    comma = rng.random() < 0.7 or parts[0].startswith("on ")  # "on blue cat" would be a blue cat
    return (", " if comma else " ").join(parts)


def _subject(scene: Scene, rng: random.Random, kind: str, filled: bool) -> tuple[str, bool]:
    """The words for the things, and whether they need "are"; kind: the article, one of KINDS."""
    every = forms()
    names = scene.things
    size = ""
    if scene.size:
        size = one_of(every["sizes"][scene.size], rng) if rng.random() >= OMITTED_SIZE else ""
    elif len(names) == 1 and rng.random() < MEDIUM:
        size = one_of(every["sizes"][""], rng)
    if filled:
        filler = one_of(every["fillers"]["before"], rng)
        size = f"{filler} {size}" if size else filler
    if len(names) > 1 and names.count(names[0]) == len(names):
        return _alike(called(names[0]), len(names), kind, size, bool(scene.size), rng)
    words = [_chosen(called(name), rng) for name in names]
    first = _phrase(words[0], kind, size, rng)
    if len(names) == 1:
        return first, words[0].number == "many"
    others = [_phrase(word, kind, "", rng) for word in words[1:]]
    form = one_of(every["pairs" if len(names) == 2 else "triples"], rng)
    return form.format(a=first, b=others[0], c=others[-1]), words[0].number == "many"


def _alike(thing: Called, count: int, kind: str, size: str, apart: bool, rng: random.Random) -> tuple[str, bool]:
    """The words for two or three of the same thing; apart: the size belongs to the first one only."""
    every = forms()
    number = "two" if count == 2 else "three"
    if apart or not thing.counted or (not thing.name.plural and rng.random() < 0.3):
        word = _chosen(thing, rng)
        form = one_of(every[f"{number} apart"], rng)
        if word.number != "one" and "{w}" in form:
            form = every[f"{number} apart"][0]
        kind, before = "a" if "{w}" in form else kind, ""
    else:
        word = one_of(thing.counted, rng)
        form = one_of(every[number], rng)
        if (thing.paired and form == "a pair of {p}") or word.text[0].isdigit():
            form = f"{number} {{p}}"
        if "{p}" not in form:
            kind = "a"
        before = f"{size} " if size else ""
    a, b = _phrase(word, kind, size, rng), _phrase(word, kind, "", rng)
    text = form.format(a=a, b=b, w=before + word.text, p=before + word.plural)
    return text, text.startswith(ARE)


def _chosen(thing: Called, rng: random.Random) -> Word:
    chosen: Word = one_of(thing.others, rng) if rng.random() < OTHER_WORD else thing.name
    return chosen


def _phrase(word: Word, kind: str, adjective: str, rng: random.Random) -> str:
    """A word with its adjective and article: "a large apple"."""
    text = f"{adjective} {word.text}" if adjective else word.text
    if word.text == "orange" and not kind:
        kind = "a"  # without it, it is a colour
    if word.number == "proper":
        return text
    if not kind or kind == "the":
        return f"the {text}" if kind else text
    if word.number != "one":
        return f"some {text}" if rng.random() < 0.15 else text
    if kind == "a":
        return (english.article(text) if adjective else word.article) + text
    return f"{kind} {text}"


def _place(scene: Scene, rng: random.Random) -> str:
    rate = 1 - OMITTED_PLACE if scene.place else MIDDLE if len(scene.things) == 1 else 0
    place: str = one_of(forms()["places"][scene.place], rng) if rng.random() < rate else ""
    return place


def _background(order: str, scene: Scene, rng: random.Random) -> str:
    every = forms()
    colour = one_of(every["colours"][scene.background], rng)
    form: str = one_of(every["background"][order], rng)
    return form.replace("{a}", english.article(colour) + colour).replace("{c}", colour)


def _agreed(form: str, are: bool) -> str:
    return form.replace("{is}", "are" if are else "is")


def _ended(text: str, ask: bool, rng: random.Random) -> str:
    """The caption with capitals and an end mark, at random."""
    end = rng.random()
    please = "" if "please" in text else ", please" if rng.random() < 0.5 else " please"
    if ask:
        text += "?" if end < 0.45 else f"{please}?" if end < 0.55 else please if end < 0.65 else ""
    else:
        text += "." if end < 0.13 else "!" if end < 0.16 else please if end < 0.19 else ""
    case = rng.random()
    if case < 0.25:
        return text[0].upper() + text[1:]
    return text.upper() if case < 0.26 else text.title() if case < 0.27 else text
