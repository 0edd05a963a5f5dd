"""A scene: one thing or two, a background, a size, a place; its caption and its picture.

Every scene of the data set is a pure function of its split and index. Some combinations are never drawn, in training or
test: about a tenth of thing x background and a tenth of the pairs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from sfumato.pictures.emoji.things import glyph, taught

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
SIZES = {"small": 0.36, "": 0.56, "large": 0.84}  # of the shorter side
PLACES = {
    "": (0.0, 0.0),
    "on the left": (0.0, -0.2),
    "on the right": (0.0, 0.2),
    "at the top": (-0.2, 0.0),
    "at the bottom": (0.2, 0.0),
}
PAIR, SMALL, APART = 0.42, 0.28, 0.24  # size of each of two, or of a small first, and how far from the middle
JITTER = 1 / 64
PAIRS, UNTOLD = 0.35, 0.1  # of the scenes: with two things; whose caption is silent on the background
HELD_OUT = 10  # every tenth


@dataclass(frozen=True)
class Scene:
    """things: one, or the left and the right; size: of the first, no "large" of two; place: of a single one."""

    things: tuple[str, ...]
    background: str
    size: str = ""
    place: str = ""

    @property
    def held_out(self) -> bool:
        """Whether it shows a combination that is never drawn."""
        pair = len(self.things) == 2 and _tenth(" ".join(sorted(self.things)))
        return pair or any(_tenth(f"{thing}/{self.background}") for thing in self.things)

    def caption(self, told: bool = True) -> str:
        """The words of a scene, without its background if that is not told."""
        first, *second = (f"{article(name)}{name}" for name in self.things)
        if self.size:
            first = f"{'a ' if article(self.things[0]) else ''}{self.size} {self.things[0]}"
        words = f"{first} next to {second[0]}" if second else first
        words += f" on {article(self.background)}{self.background} background" if told else ""
        return f"{words}, {self.place}" if self.place else words

    def draw(self, size: tuple[int, int] = (64, 64), jitter: tuple[float, float] = (0, 0)) -> np.ndarray:
        """Its picture, uint8 (H, W, 3); jitter: (down, right) in [-1, 1], how far all is moved within JITTER."""
        picture = np.empty((*size, 3), np.float32)
        picture[:] = np.array(BACKGROUNDS[self.background], np.float32) / 255
        for name, (y, x), side in self.places(size, jitter):
            paste(picture, glyph(name, side), y, x)
        return np.rint(picture.clip(0, 1) * 255).astype(np.uint8)

    def places(
        self, size: tuple[int, int], jitter: tuple[float, float] = (0, 0)
    ) -> list[tuple[str, tuple[float, float], int]]:
        """Each thing with its middle (y, x) and its longer side, in pixels."""
        shorter = min(size)
        if len(self.things) == 2:
            spots, parts = [(0.0, -APART), (0.0, APART)], [SMALL if self.size else PAIR, PAIR]
        else:
            spots, parts = [PLACES[self.place]], [SIZES[self.size]]
        moved = [JITTER * shorter * each for each in jitter]
        return [
            (name, (size[0] / 2 + y * size[0] + moved[0], size[1] / 2 + x * size[1] + moved[1]), round(part * shorter))
            for name, (y, x), part in zip(self.things, spots, parts, strict=True)
        ]


def paste(picture: np.ndarray, drawn: np.ndarray, y: float, x: float) -> None:
    """Lay a glyph with its middle at (y, x) over a picture, float (H, W, 3 or 4) in [0, 1]."""
    top, left = round(y - drawn.shape[0] / 2), round(x - drawn.shape[1] / 2)
    rows = slice(max(0, top), min(picture.shape[0], top + drawn.shape[0]))
    columns = slice(max(0, left), min(picture.shape[1], left + drawn.shape[1]))
    part = drawn[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    picture[rows, columns] = picture[rows, columns] * (1 - part[..., 3:]) + part[..., : picture.shape[2]]


def article(name: str) -> str:
    """ "a ", "an ", or nothing before what is plural."""
    last = name.split()[-1]
    if last.endswith("s") and not last.endswith(("ss", "us", "is")):
        return ""
    return "an " if name[0] in "aeiou" else "a "


def nth(split: str, index: int) -> tuple[Scene, bool, tuple[float, float]]:
    """Scene `index` of a split, whether its caption tells the background, and its jitter."""
    two, first, second, paper, size, place, told, down, right = _random(split, index)
    names = taught()
    chosen: tuple[str, ...] = (names[int(first * len(names))],)
    if two < PAIRS:
        start = int(second * len(names))
        others = (names[(start + k) % len(names)] for k in range(len(names)))
        chosen += (next(b for b in others if b != chosen[0] and not _tenth(" ".join(sorted((*chosen, b))))),)
    papers = [b for b in BACKGROUNDS if not any(_tenth(f"{thing}/{b}") for thing in chosen)]
    big = "" if size < 0.5 else "small" if size < 0.75 or len(chosen) == 2 else "large"
    scene = Scene(chosen, papers[int(paper * len(papers))], big if size < 0.75 else "")
    if len(chosen) == 1:
        spots = [spot for spot in PLACES if spot]
        where = spots[int(place * 2 * len(spots))] if place < 0.5 and big != "large" else ""
        scene = Scene(chosen, scene.background, big, where)
    return scene, told >= UNTOLD, (2 * down - 1, 2 * right - 1)


def _tenth(words: str) -> bool:
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little") % HELD_OUT == 0


def _random(split: str, index: int) -> list[float]:
    """Nine numbers in [0, 1), by hashing: no generator whose stream may change between versions."""
    raw = b"".join(hashlib.blake2b(f"{split}/{index}/{k}".encode(), digest_size=40).digest() for k in range(2))
    return [int.from_bytes(raw[i : i + 8], "little") / 2**64 for i in range(0, 72, 8)]


ASKED = ("single", "held out", "pairs")


def asked(kind: str, index: int) -> Scene:
    """Scene `index` of a kind to judge a model on: what it was taught, thing x background held out, pairs held out."""
    names, papers = taught(), list(BACKGROUNDS)
    if kind == "single":
        return next(s for k in range(index * 50, index * 50 + 50) if len((s := nth("asked", k)[0]).things) == 1)
    for k in range(10_000):
        first, second, paper, size, place = (int(u * 2**32) for u in _random(f"asked {kind}", index * 10_000 + k)[:5])
        one, two, back = names[first % len(names)], names[second % len(names)], papers[paper % len(papers)]
        if kind == "pairs":
            scene = Scene((one, two), back)
            papers_held_out = any(_tenth(f"{thing}/{back}") for thing in (one, two))
            if one != two and scene.held_out and not papers_held_out:
                return scene
        elif (scene := Scene((one,), back, list(SIZES)[size % 3], "")).held_out:
            where = list(PLACES)[place % len(PLACES)] if scene.size != "large" else ""
            return Scene((one,), back, scene.size, where)
    raise AssertionError("no such scene")
