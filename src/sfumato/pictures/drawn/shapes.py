"""A drawn data set whose pictures can be read exactly: one shape, one colour, one background.

Every picture is a pure function of its split and index, the same on every machine. About a tenth of the
combinations is held out of training and test: the pictures that a model draws for their captions show whether it has
learned shape, colour and background separately.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sfumato.pictures.decode import Header
from sfumato.pictures.source import Item, sides
from sfumato.progress import Advance
from sfumato.recipe.sections import Data

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 4  # of the drawing; part of the fingerprint
SIDE, TRAIN, TEST = 32, 16_000, 1_600
FINE = 4  # sampling points along a pixel's side
PLAY = 0.04  # largest offset from the middle, as a share of the shorter side
# Thresholds of `read`, in RGB distances and intersection over union
NAMED = 40.0  # a colour closer than this to a named one has its name
NEAR = 55.0  # two colours closer than this may be the same with noise
OVERLAP = 0.8  # the least overlap of a mask with the best drawing
MARGIN = 0.04  # how much more than the second best

COLOURS = {
    "red": (215, 30, 40),
    "orange": (245, 125, 20),
    "yellow": (250, 225, 40),
    "green": (40, 165, 60),
    "cyan": (40, 200, 220),
    "blue": (40, 80, 220),
    "purple": (140, 50, 180),
    "pink": (245, 120, 190),
}
BACKGROUNDS = {
    "white": (248, 248, 248),
    "grey": (128, 128, 128),
    "black": (12, 12, 12),
    "navy": (20, 30, 90),
    "brown": (100, 62, 35),
    "mint": (190, 235, 205),
}


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (v <= 0.85) & (np.abs(u) <= (v + 1) / 1.85)


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Five points of radius 1, valleys of radius 0.42; folded onto one half of a point."""
    fifth = 2 * np.pi / 5
    angle = np.abs((np.arctan2(u, -v) + fifth / 2) % fifth - fifth / 2)
    along, across = np.hypot(u, v) * np.cos(angle), np.hypot(u, v) * np.sin(angle)
    valley = 0.42 * np.cos(fifth / 2), 0.42 * np.sin(fifth / 2)
    return (valley[0] - 1) * across - valley[1] * (along - 1) >= 0


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = 1.15 * u, 0.12 - 1.13 * v
    return (x**2 + y**2 - 1) ** 3 - x**2 * y**3 <= 0


# Whether a point is inside a shape, in coordinates from -1 to 1, v downwards
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda u, v: u**2 + v**2 <= 1,
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) <= 0.88,
    "triangle": _triangle,
    "star": _star,
    "cross": lambda u, v: (np.minimum(np.abs(u), np.abs(v)) <= 0.34) & (np.maximum(np.abs(u), np.abs(v)) <= 1),
    "ring": lambda u, v: np.abs(u**2 + v**2 - 0.65) <= 0.35,
    "diamond": lambda u, v: np.abs(u) / 0.72 + np.abs(v) <= 1,
    "heart": _heart,
}

Combination = tuple[str, str, str]  # shape, colour, background
COMBINATIONS: list[Combination] = [(s, c, b) for s in SHAPES for c in COLOURS for b in BACKGROUNDS]
# Of each pair of factors at most one combination is held out, so that every pair occurs in training
HELD_OUT: list[Combination] = [
    (s, c, b)
    for i, s in enumerate(SHAPES)
    for j, c in enumerate(COLOURS)
    for k, b in enumerate(BACKGROUNDS)
    if (i + 3 * j + 7 * k) % 10 == 0
]
DRAWN: list[Combination] = sorted(set(COMBINATIONS) - set(HELD_OUT))


def caption(shape: str, colour: str, background: str) -> str:
    """The caption of a combination."""
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape} on a {background} background"


def captions(held_out: bool) -> list[str]:
    """Captions of the combinations that are never drawn, or of those that are."""
    return [caption(*combination) for combination in (HELD_OUT if held_out else DRAWN)]


def mask(shape: str, size: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    """How much of each pixel a shape covers: float (H, W) in [0, 1], from 4 x 4 points a pixel.

    `centre` is (y, x) and `radius` half the extent, in pixels, each rounded to a quarter.
    """
    reach = round(radius * FINE)
    stamp = _stamp(shape, reach)
    height, width = size[0] * FINE, size[1] * FINE
    top, left = round(centre[0] * FINE) - reach, round(centre[1] * FINE) - reach
    fine = np.zeros((height, width), bool)
    down, right = slice(max(0, top), top + 2 * reach), slice(max(0, left), left + 2 * reach)
    fine[down, right] = stamp[max(0, -top) : height - top, max(0, -left) : width - left]
    rows = fine.reshape(size[0], FINE, width).sum(axis=1, dtype=np.float32)
    return rows.reshape(*size, FINE).sum(axis=2) / FINE**2


@functools.lru_cache(maxsize=256)
def _stamp(shape: str, reach: int) -> np.ndarray:
    """A shape of radius `reach` on the fine grid, bool (2 reach, 2 reach)."""
    line = (np.arange(2 * reach) + 0.5) / reach - 1
    return SHAPES[shape](*np.meshgrid(line, line))


def paint(combination: Combination, size: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    """One picture, uint8 (H, W, 3)."""
    shape, colour, background = combination
    cover = mask(shape, size, centre, radius)[:, :, None]
    colour_rgb, background_rgb = np.array(COLOURS[colour], np.float32), np.array(BACKGROUNDS[background], np.float32)
    mixed = background_rgb + cover * (colour_rgb - background_rgb)
    return np.rint(mixed).astype(np.uint8)


def combination_of(split: str, index: int) -> Combination:
    """The combination of a picture."""
    return DRAWN[int(_random(split, index)[0] * len(DRAWN))]


def draw(split: str, index: int, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Picture `index` of a split, uint8 (H, W, 3): size and place vary about the middle, the shape visible whole."""
    _, big, down, right = _random(split, index)
    shorter = min(size)
    radius = (0.30 + 0.06 * big) * shorter
    centre = size[0] / 2 + PLAY * shorter * (2 * down - 1), size[1] / 2 + PLAY * shorter * (2 * right - 1)
    return paint(combination_of(split, index), size, centre, radius)


def _random(split: str, index: int) -> list[float]:
    """Four numbers in [0, 1), by hashing: no generator whose stream may change between versions."""
    raw = hashlib.blake2b(f"{split}/{index}".encode(), digest_size=32).digest()
    return [int.from_bytes(raw[i : i + 8], "little") / 2**64 for i in range(0, 32, 8)]


def read(picture: np.ndarray | Tensor) -> Combination:
    """The shape, colour and background of a picture, "?" for each that is not clear.

    `picture` is uint8 (3, H, W). The background is the median of the border, the colour the median of the
    pixels that differ most from it. Each pixel's position between these two colours gives a soft mask. Every shape is
    drawn with the mask's centroid and area; the one with the largest overlap (intersection over union) is the answer,
    if its overlap is above OVERLAP and leads by MARGIN.
    """
    pixels = np.asarray(picture).transpose(1, 2, 0).astype(np.float32)
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    background_rgb = np.median(border, axis=0)
    if np.mean(np.linalg.norm(border - background_rgb, axis=1) < NEAR) < 0.9:
        return "?", "?", "?"
    background = _nearest(background_rgb, BACKGROUNDS)
    far = np.linalg.norm(pixels - background_rgb, axis=2)
    if np.mean(far > NEAR) < 0.02:
        return "?", "?", background
    colour_rgb = np.median(pixels[far > 0.8 * np.quantile(far[far > NEAR], 0.9)], axis=0)
    way = colour_rgb - background_rgb
    if np.linalg.norm(way) < NEAR:
        return "?", "?", background
    cover = ((pixels - background_rgb) @ way / (way @ way)).clip(0, 1)
    off = np.linalg.norm(pixels - background_rgb - cover[:, :, None] * way, axis=2)
    if np.mean(off > NEAR) > 0.02:  # a third colour
        return "?", "?", background
    return _shape(cover), _nearest(colour_rgb, COLOURS), background


def _nearest(colour: np.ndarray, names: dict[str, tuple[int, int, int]]) -> str:
    """The nearest named colour, "?" if it is not near or another one is nearly as near."""
    far = {name: float(np.linalg.norm(colour - np.array(value))) for name, value in names.items()}
    first, second, *_ = sorted(far, key=far.__getitem__)
    return first if far[first] < NAMED and far[first] < 0.7 * far[second] else "?"


def _shape(cover: np.ndarray) -> str:
    """The shape whose drawing overlaps a soft mask (H, W) best, "?" if the overlap is too small."""
    cover = (2 * cover - 0.5).clip(0, 1)  # removes faint noise and the soft edge of a slight blur
    area = cover.sum()
    if area < 1:
        return "?"
    y, x = (np.arange(side) + 0.5 for side in cover.shape)
    middle = (cover.sum(axis=1) @ y) / area, (cover.sum(axis=0) @ x) / area
    overlap = {}
    for shape in SHAPES:
        unit_area, unit_y, unit_x = _moments(shape)
        radius = float(np.sqrt(area / unit_area))
        centre = middle[0] - unit_y * radius, middle[1] - unit_x * radius
        drawn = mask(shape, (cover.shape[0], cover.shape[1]), centre, radius)
        overlap[shape] = np.minimum(drawn, cover).sum() / np.maximum(drawn, cover).sum()
    best, second, *_ = sorted(overlap, key=overlap.__getitem__, reverse=True)
    return best if overlap[best] > OVERLAP and overlap[best] - overlap[second] > MARGIN else "?"


@functools.cache
def _moments(shape: str) -> tuple[float, float, float]:
    """Area and centroid (y, x) of a shape of radius 1."""
    side = 512
    drawn = mask(shape, (side, side), (side / 2, side / 2), side / 2)
    line = (np.arange(side) + 0.5) * 2 / side - 1
    total = drawn.sum()
    return total * 4 / side**2, drawn.sum(axis=1) @ line / total, drawn.sum(axis=0) @ line / total


class ShapesSource:
    """The data set as a source; its pictures are drawn at `data.image_size`, 32 x 32 if that is left out."""

    def __init__(self, data: Data) -> None:
        self.name = "shapes"
        self.splits: tuple[str, ...] = ("train", "test")
        self.label_names = list(SHAPES)
        self.refused: dict[str, str] = {}
        self.ignored: dict[str, int] = {}
        self.notes: list[str] = []
        self.size = sides(data) or (SIDE, SIDE)

    def fingerprint(self, progress: Advance | None = None) -> str:
        return hashlib.sha256(f"shapes {VERSION} {self.size} {TRAIN} {TEST}".encode()).hexdigest()

    def items(self, split: str) -> list[Item]:
        return [self._item(split, index) for index in range(TRAIN if split == "train" else TEST)]

    def _item(self, split: str, index: int) -> Item:
        combination = combination_of(split, index)
        return Item(
            key=f"{split}/{index:06d}",
            label=combination[0],
            caption=caption(*combination),
            digest=hashlib.sha256(f"{VERSION} {self.size} {split}/{index}".encode()).hexdigest(),
            read=functools.partial(draw, split, index, self.size),
            header=functools.partial(Header, *self.size, "RGB"),
        )
