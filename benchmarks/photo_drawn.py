"""Drawn pictures with sharp pixels: text, stripes, grids, line art, interfaces, flat walls, dithered gradients."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Painter = Callable[[ImageDraw.ImageDraw, np.random.Generator, int], None]
FONTS = Path("/usr/share/fonts/truetype")
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?()+-=/%&@#äöüéß"))
TINTED = 0.5  # share of pictures whose ground has a colour; the others stand on white, black or grey


def synthetic(n: int, rng: np.random.Generator, side: int = 128) -> np.ndarray:
    """n drawn pictures, uint8 (n, side, side, 3), details of 1 to 3 pixels and saturated colours.

    Rows depend on `rng` alone, and on the fonts that are installed.
    """
    return np.stack([drawn(rng, side) for _ in range(n)]) if n else np.zeros((0, side, side, 3), np.uint8)


def drawn(rng: np.random.Generator, side: int) -> np.ndarray:
    """One drawing, uint8 (side, side, 3): a painter over a ground, now and then two of them side by side."""
    if rng.random() < 0.1:
        return gradient(rng, side)
    image = Image.new("RGB", (side, side), ground(rng))
    paint = ImageDraw.Draw(image)
    paint.fontmode = "1" if rng.random() < 0.2 else "L"
    names = list(PAINTERS)
    PAINTERS[names[rng.integers(len(names))]](paint, rng, side)
    if rng.random() < 0.3:
        cut = int(rng.integers(side // 4, 3 * side // 4))
        paint.rectangle((cut, 0, side, side), fill=ground(rng))
        part = Image.new("RGB", (side, side), ground(rng))
        PAINTERS[names[rng.integers(len(names))]](ImageDraw.Draw(part), rng, side)
        image.paste(part.crop((0, 0, side - cut, side)), (cut, 0))
    return np.asarray(image)


def colour(rng: np.random.Generator) -> Colour:
    """Any colour; half of them saturated, some black or white."""
    kind = rng.random()
    if kind < 0.15:
        return (0, 0, 0) if rng.random() < 0.6 else (255, 255, 255)
    values = rng.integers(0, 256, 3)
    if kind < 0.65:
        values = np.where(rng.random(3) < 0.5, values // 5, 255 - values // 5)
    return int(values[0]), int(values[1]), int(values[2])


def ground(rng: np.random.Generator) -> Colour:
    if rng.random() < TINTED:
        return colour(rng)
    grey = int(rng.choice([255, 255, 0, 245, 240, 30, 128, int(rng.integers(256))]))
    return grey, grey, grey


@functools.cache
def fonts() -> tuple[Path, ...]:
    """DejaVu and Liberation as Debian installs them, or the DejaVu that matplotlib brings; () if there is neither."""
    found = sorted([*FONTS.glob("dejavu/*.ttf"), *FONTS.glob("liberation/*.ttf")])
    if not found and (spec := importlib.util.find_spec("matplotlib")) and spec.origin:
        found = sorted((Path(spec.origin).parent / "mpl-data/fonts/ttf").glob("DejaVu*.ttf"))
    return tuple(path for path in found if "Math" not in path.name and "Display" not in path.name)


@functools.cache
def font(number: int, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """One of `fonts()` (any number), of a size in pixels."""
    known = fonts()
    return ImageFont.truetype(known[number % len(known)], size) if known else ImageFont.load_default(size)


def words(rng: np.random.Generator, count: int) -> str:
    """Words of random letters, `count` characters in all."""
    letters = rng.choice(LETTERS, count)
    letters[rng.random(count) < 0.15] = " "
    return "".join(letters)


def text(paint: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    size = int(rng.choice([8, 9, 10, 11, 11, 12, 13, 14, 16, 20, 28]))
    kind, one, many = int(rng.integers(99)), colour(rng), rng.random() < 0.4
    y = int(rng.integers(-size, size))
    while y < side:
        fill = colour(rng) if many else one
        paint.text((int(rng.integers(-8, 12)), y), words(rng, 2 * side // size), fill=fill, font=font(kind, size))
        y += size + int(rng.integers(1, 6))


def stripes(paint: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    """Of 1 to 4 pixels, upright, level or slanting; two or three colours."""
    colours, wide = [colour(rng) for _ in range(int(rng.integers(2, 4)))], int(rng.choice([1, 1, 2, 2, 3, 4]))
    lean = int(rng.choice([0, 0, side, side // 2, side // 4]))
    upright = rng.random() < 0.5
    for k, at in enumerate(range(-lean, side, wide)):
        a, b = at, at + lean
        corners = [(a, 0), (a + wide - 1, 0), (b + wide - 1, side - 1), (b, side - 1)]
        paint.polygon(corners if upright else [(y, x) for x, y in corners], fill=colours[k % len(colours)])


def grid(paint: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    step, wide, fill = int(rng.integers(3, 24)), int(rng.choice([1, 1, 2])), colour(rng)
    for at in range(int(rng.integers(step)), side, step):
        paint.line((at, 0, at, side), fill=fill, width=wide)
        paint.line((0, at, side, at), fill=fill, width=wide)


def checkers(paint: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    """A checkerboard of cells of 1 to 8 pixels, or larger cells of random colours: finer ones would be noise."""
    cell = int(rng.choice([1, 2, 2, 3, 4, 8]))
    rows = np.indices((-(-side // cell),) * 2).sum(0)
    few = np.array([colour(rng) for _ in range(int(rng.integers(2, 7)))], np.uint8)
    picked = rows % 2 if cell < 3 or rng.random() < 0.4 else rng.integers(0, len(few), rows.shape)
    pixels = few[picked].repeat(cell, 0).repeat(cell, 1)[:side, :side]
    paint._image.paste(Image.fromarray(pixels))


def lines(paint: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    """Thin coloured lines, curves and circles."""
    for _ in range(int(rng.integers(4, 30))):
        box = np.sort(rng.integers(-20, side + 20, (2, 2)), axis=0).ravel().tolist()
        wide, fill = int(rng.choice([1, 1, 1, 2, 3])), colour(rng)
        kind = rng.integers(4)
        if kind == 0:
            paint.ellipse(box, outline=fill, width=wide)
        elif kind == 1:
            paint.arc(box, int(rng.integers(360)), int(rng.integers(360)), fill=fill, width=wide)
        else:
            paint.line(rng.integers(-20, side + 20, 4).tolist(), fill=fill, width=wide)


def shapes(paint: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    """Filled polygons and discs: clean edges between flat colours."""
    for _ in range(int(rng.integers(3, 14))):
        x, y = rng.integers(0, side, 2).tolist()
        spread = int(rng.integers(4, side // 2))
        if rng.random() < 0.5:
            paint.polygon([(x + int(a), y + int(b)) for a, b in rng.integers(-spread, spread, (4, 2))], colour(rng))
        else:
            paint.ellipse((x - spread // 2, y - spread // 2, x + spread // 2, y + spread // 2), fill=colour(rng))


def interface(paint: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    """Windows, buttons and labels with borders of a pixel."""
    kind = int(rng.integers(99))
    for _ in range(int(rng.integers(4, 12))):
        x, y = rng.integers(-10, side, 2).tolist()
        wide, tall = int(rng.integers(12, side)), int(rng.integers(8, 30))
        box = (x, y, x + wide, y + tall)
        if rng.random() < 0.5:
            paint.rounded_rectangle(box, int(rng.integers(1, 6)), fill=ground(rng), outline=colour(rng))
        else:
            paint.rectangle(box, fill=ground(rng), outline=colour(rng))
        paint.text((x + 3, y + 2), words(rng, max(1, wide // 7)), fill=colour(rng), font=font(kind, 11))


def wall(paint: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    """One flat colour, seldom an edge in it."""
    if rng.random() < 0.5:
        paint.rectangle((0, int(rng.integers(side)), side, side), fill=ground(rng))


def gradient(rng: np.random.Generator, side: int) -> np.ndarray:
    """Two colours that run into each other, rounded to 8 bits with random dither or none: uint8 (side, side, 3)."""
    angle = rng.random() * 2 * np.pi
    y, x = np.indices((side, side)) / side - 0.5
    along = np.clip((x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(0.3, 1.4) + 0.5, 0, 1)[..., None]
    a, b = np.array(colour(rng)), np.array(colour(rng))
    dither = rng.random((side, side, 3)) if rng.random() < 0.5 else 0.5
    return np.clip(np.floor(a + (b - a) * along + dither), 0, 255).astype(np.uint8)


PAINTERS: dict[str, Painter] = {
    "text": text, "text again": text, "stripes": stripes, "grid": grid, "checkers": checkers, "lines": lines,
    "shapes": shapes, "interface": interface, "wall": wall,
}  # fmt: skip
