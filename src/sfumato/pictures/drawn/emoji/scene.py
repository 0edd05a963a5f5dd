"""A scene: one thing, two or three, a background, a size, a place; its caption and its picture.

Every scene of the data set is a pure function of its split and index. Some combinations are held out of training and
test: about a tenth of thing x background and a tenth of the pairs of different things.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sfumato.pictures.drawn.emoji.english import article_of as article
from sfumato.pictures.drawn.emoji.english import plural
from sfumato.pictures.drawn.emoji.things import glyph, taught

BACKGROUNDS = {
    "white": (248, 248, 248),
    "black": (16, 16, 16),
    "grey": (132, 132, 132),
    "red": (200, 32, 40),
    "orange": (245, 140, 30),
    "yellow": (250, 225, 70),
    "green": (40, 140, 70),
    "blue": (40, 90, 210),
    "purple": (125, 60, 175),
    "pink": (250, 165, 200),
}
SIZES = {"small": 0.36, "": 0.56, "large": 0.84}  # shares of the shorter side
PLACES = {
    "": (0.0, 0.0),
    "on the left": (0.0, -0.2),
    "on the right": (0.0, 0.2),
    "at the top": (-0.2, 0.0),
    "at the bottom": (0.2, 0.0),
}
PAIR, SMALL, APART = 0.42, 0.28, 0.24  # of two things: their size, that of a small one, their distance from the middle
THIRD, WIDE = 0.30, 0.32  # of three things: their size, the distance of the outer ones from the middle
JITTER = 1 / 32  # largest random shift, as a share of the shorter side
TRIPLES, PAIRS, SILENT = 0.08, 0.32, 0.1  # shares of scenes: three things, two things, caption without background
SAME = {1: 0.0, 2: 0.2, 3: 1 / 3}  # number of things -> share of scenes that repeat one thing
HELD_OUT = 10  # one combination in so many is held out
Jitter = tuple[float, float]  # (down, right), each in [-1, 1], in units of JITTER


@dataclass(frozen=True)
class Scene:
    """things: one to three, from left to right, possibly the same; size and place: of a single thing.

    The first of two different things may be "small". Three things have neither size nor place.
    """

    things: tuple[str, ...]
    background: str
    size: str = ""
    place: str = ""

    @property
    def held_out(self) -> bool:
        """Whether it contains a combination that is held out."""
        return any(_kept_apart(*two) for two in itertools.combinations(self.things, 2)) or any(
            self.background not in _backgrounds(thing) for thing in self.things
        )

    def caption(self, with_background: bool = True) -> str:
        """The scene's caption by the template."""
        words = self._subject()
        words += f" on {article(self.background)}{self.background} background" if with_background else ""
        return f"{words}, {self.place}" if self.place else words

    def _subject(self) -> str:
        if len(self.things) > 1 and len(set(self.things)) == 1:
            return f"{('two', 'three')[len(self.things) - 2]} {plural(self.things[0])}"
        first, *others = (f"{article(name)}{name}" for name in self.things)
        if self.size:
            first = f"{'a ' if article(self.things[0]) else ''}{self.size} {self.things[0]}"
        if len(others) == 2:
            return f"{first}, {others[0]} and {others[1]}"
        return f"{first} next to {others[0]}" if others else first

    def draw(self, size: tuple[int, int] = (64, 64), jitter: Jitter = (0, 0)) -> np.ndarray:
        """The picture, uint8 (H, W, 3); jitter: shift of all things (down, right), in [-1, 1] times JITTER."""
        picture = np.empty((*size, 3), np.float32)
        picture[:] = np.array(BACKGROUNDS[self.background], np.float32) / 255
        for name, (y, x), side in self.places(size, jitter):
            paste(picture, glyph(name, side), y, x)
        return np.rint(picture.clip(0, 1) * 255).astype(np.uint8)

    def places(self, size: tuple[int, int], jitter: Jitter = (0, 0)) -> list[tuple[str, tuple[float, float], int]]:
        """Each thing with its middle (y, x) and its longer side, in pixels.

        Jitter moves all things together by whole pixels, and keeps them inside the picture.
        """
        spots, parts = self._framing()
        sides = [round(part * min(size)) for part in parts]
        down, right = (
            _moved([extent / 2 + spot[axis] * extent for spot in spots], sides, extent, jitter[axis] * min(size))
            for axis, extent in enumerate(size)
        )
        return list(zip(self.things, zip(down, right, strict=True), sides, strict=True))

    def _framing(self) -> tuple[Sequence[tuple[float, float]], Sequence[float]]:
        """Offsets of the things from the middle, and their sizes, as shares of the picture."""
        if len(self.things) == 1:
            return [PLACES[self.place]], [SIZES[self.size]]
        if len(self.things) == 2:
            return [(0.0, -APART), (0.0, APART)], [SMALL if self.size else PAIR, PAIR]
        return [(0.0, -WIDE), (0.0, 0.0), (0.0, WIDE)], [THIRD] * 3


def _moved(middles: list[float], sides: list[int], extent: int, jitter: float) -> list[float]:
    """Middles along one axis, moved by JITTER x jitter in whole pixels, with all things inside the picture."""
    least = math.ceil(max(side / 2 - middle for middle, side in zip(middles, sides, strict=True)))
    most = math.floor(min(extent - side / 2 - middle for middle, side in zip(middles, sides, strict=True)))
    moved = max(min(least, 0), min(max(most, 0), round(JITTER * jitter)))
    return [middle + moved for middle in middles]


def corner(middle: float, extent: int) -> int:
    """The first pixel of a thing with this middle. Halves are rounded up, so that a middle moved by 1 moves it by 1."""
    return math.floor(middle - extent / 2 + 0.5)


def paste(picture: np.ndarray, drawn: np.ndarray, y: float, x: float) -> None:
    """Draw a glyph with its middle at (y, x) over a picture, float (H, W, 3 or 4) in [0, 1]."""
    top, left = corner(y, drawn.shape[0]), corner(x, drawn.shape[1])
    rows = slice(max(0, top), min(picture.shape[0], top + drawn.shape[0]))
    columns = slice(max(0, left), min(picture.shape[1], left + drawn.shape[1]))
    part = drawn[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    picture[rows, columns] = picture[rows, columns] * (1 - part[..., 3:]) + part[..., : picture.shape[2]]


def nth(split: str, index: int) -> tuple[Scene, bool, Jitter]:
    """Scene `index` of a split, whether its caption mentions the background, and its jitter."""
    count, same, first, second, third, colour, size, place, mention, down, right = _random(split, index)
    number = 3 if count < TRIPLES else 2 if count < TRIPLES + PAIRS else 1
    chosen = _choose(number, same < SAME[number], first, second, third)
    backgrounds = _shared(chosen)
    background = backgrounds[int(colour * len(backgrounds))]
    jitter = (2 * down - 1, 2 * right - 1)
    if number > 1:
        small = len(set(chosen)) == 2 and 0.5 <= size < 0.75
        return Scene(chosen, background, "small" if small else ""), mention >= SILENT, jitter
    big = "" if size < 0.5 else "small" if size < 0.75 else "large"
    spots = [spot for spot in PLACES if spot]
    where = spots[int(place * 2 * len(spots))] if place < 0.5 and big != "large" else ""
    return Scene(chosen, background, big, where), mention >= SILENT, jitter


def _choose(number: int, same: bool, *shares: float) -> tuple[str, ...]:
    """`number` things, all the same or all different, no two of them held out, with a common background."""
    if same:
        countable = _countable()
        return (countable[int(shares[0] * len(countable))],) * number
    names = taught()
    chosen: tuple[str, ...] = (names[int(shares[0] * len(names))],)
    for share in shares[1:number]:
        start = int(share * len(names))
        others = (names[(start + k) % len(names)] for k in range(len(names)))
        chosen += (
            next(
                b
                for b in others
                if b not in chosen and not any(_kept_apart(a, b) for a in chosen) and _shared((*chosen, b))
            ),
        )
    return chosen


@functools.cache
def _countable() -> list[str]:
    """The things whose plural is unambiguous: not "eye", because "eyes" is another thing."""
    several = Counter(plural(name) for name in taught())
    return [name for name in taught() if several[plural(name)] == 1]


def _tenth(words: str) -> bool:
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little") % HELD_OUT == 0


def _kept_apart(a: str, b: str) -> bool:
    """Whether a pair of things is held out."""
    return a != b and _tenth(" ".join(sorted((a, b))))


@functools.cache
def _backgrounds(thing: str) -> frozenset[str]:
    """The backgrounds of a thing that are not held out."""
    return frozenset(b for b in BACKGROUNDS if not _tenth(f"{thing}/{b}"))


def _shared(things: Sequence[str]) -> list[str]:
    """The backgrounds that several things have in common, in order."""
    return [b for b in BACKGROUNDS if all(b in _backgrounds(thing) for thing in things)]


def _random(split: str, index: int) -> list[float]:
    """Eleven numbers in [0, 1), by hashing: no generator whose stream may change between versions."""
    raw = b"".join(hashlib.blake2b(f"{split}/{index}/{k}".encode(), digest_size=44).digest() for k in range(2))
    return [int.from_bytes(raw[i : i + 8], "little") / 2**64 for i in range(0, 88, 8)]


KINDS = ("single", "held out", "pairs", "many")


def judged_scene(kind: str, index: int) -> Scene:
    """Scene `index` of a kind, for judging a model.

    "single": one thing, as in training; "held out": a held-out thing x background; "pairs": a held-out pair; "many": as
    in training, in turn two of a thing, three of it, three different things.
    """
    names, backgrounds = taught(), list(BACKGROUNDS)
    if kind == "single":
        return next(s for k in range(index * 50, index * 50 + 50) if len((s := nth("asked", k)[0]).things) == 1)
    if kind == "many":
        first, second, third, colour = _random(f"asked {kind}", index)[:4]
        chosen = _choose(2 if index % 3 == 0 else 3, index % 3 < 2, first, second, third)
        free = _shared(chosen)
        return Scene(chosen, free[int(colour * len(free))])
    for k in range(10_000):
        first, second, colour, size, place = (int(u * 2**32) for u in _random(f"asked {kind}", index * 10_000 + k)[:5])
        one, two, back = names[first % len(names)], names[second % len(names)], backgrounds[colour % len(backgrounds)]
        if kind == "pairs":
            scene = Scene((one, two), back)
            if _kept_apart(one, two) and back in _shared((one, two)):
                return scene
        elif (scene := Scene((one,), back, list(SIZES)[size % 3], "")).held_out:
            where = list(PLACES)[place % len(PLACES)] if scene.size != "large" else ""
            return Scene((one,), back, scene.size, where)
    raise AssertionError("no such scene")


def judged_jitter(kind: str, index: int) -> Jitter:
    """The jitter of the drawing of scene `index` of a kind."""
    down, right = _random(f"asked {kind} jitter", index)[:2]
    return 2 * down - 1, 2 * right - 1
