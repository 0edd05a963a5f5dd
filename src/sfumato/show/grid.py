"""Many pictures as one: grids, and columns side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

BACKGROUND, TEXT = 255, 64
"""Grey levels of the background and of the text."""
GAP = 2
TILE = 96
"""Pixels: small pictures are enlarged until their longer side is near this."""


def enlargement(height: int, width: int) -> int:
    """The integer factor that makes the longer side about TILE pixels: 3 for 32 px, 2 for 64 px, 1 for 128 px."""
    return max(1, round(TILE / max(height, width)))


def grid(
    pictures: Tensor | np.ndarray,
    columns: int | None = None,
    scale: int | None = None,
    captions: Sequence[str] | None = None,
) -> Image.Image:
    """Pictures in rows, left to right.

    pictures: uint8 (N, C, H, W), C 1 or 3, N at least 1. columns: pictures in a row; left out: about as many as rows.
    scale: integer factor of the nearest-neighbour enlargement; left out: `enlargement`. captions: N texts, each
    shown under its picture, wrapped to its width.

    Without captions, picture k starts at (GAP + column * (W * scale + GAP), GAP + row * (H * scale + GAP)).
    Returns an image of mode L for grey pictures and RGB for colour. Raises ValueError for other shapes.
    """
    array = as_array(pictures)
    count, height, width, _ = array.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    factor = scale or enlargement(height, width)
    if captions is not None and len(captions) != count:
        raise ValueError(f"{count} pictures and {len(captions)} captions")
    font = legible(width * factor)
    texts = [wrap(caption, font, width * factor) for caption in captions] if captions else [""] * count
    rows = range(math.ceil(count / columns))
    under = [max(text_height(text, font) for text in texts[r * columns : (r + 1) * columns]) for r in rows]
    tops = [GAP + sum(height * factor + GAP + under[above] for above in range(row)) for row in rows]
    sheet = Image.new(
        "L" if array.shape[-1] == 1 else "RGB",
        (GAP + columns * (width * factor + GAP), tops[-1] + height * factor + GAP + under[-1]),
        _colour(BACKGROUND, array.shape[-1]),
    )
    for k in range(count):
        x, y = GAP + k % columns * (width * factor + GAP), tops[k // columns]
        sheet.paste(enlarge(array[k], factor), (x, y))
        write(sheet, (x + width * factor // 2, y + height * factor + GAP), texts[k], font)
    return sheet


def side_by_side(
    columns: Mapping[str, Tensor | np.ndarray] | Sequence[tuple[str, Tensor | np.ndarray]],
    scale: int | None = None,
) -> Image.Image:
    """Columns of pictures under titles; row k has picture k of every column.

    columns: title -> uint8 (N, C, H, W), the same N in each; or a list of pairs, if titles repeat. Columns may
    differ in size and in C: each is enlarged by an integer factor to fit the largest, and grey becomes RGB if any
    column is RGB. scale: enlargement of the largest column; left out: `enlargement`.
    """
    pairs = list(columns.items() if isinstance(columns, Mapping) else columns)
    arrays = [as_array(pictures) for _, pictures in pairs]
    if not arrays or len({len(array) for array in arrays}) != 1:
        raise ValueError(f"columns of {[len(array) for array in arrays]} pictures: give one number, at least 1")
    height, width = (max(array.shape[axis] for array in arrays) for axis in (1, 2))
    factor = scale or enlargement(height, width)
    height, width = height * factor, width * factor
    channels = max(array.shape[-1] for array in arrays)
    font = legible(width)
    titles = [wrap(title, font, width) for title, _ in pairs]
    top = GAP + max(text_height(title, font) for title in titles)
    size = (GAP + len(pairs) * (width + GAP), top + len(arrays[0]) * (height + GAP))
    sheet = Image.new("L" if channels == 1 else "RGB", size, _colour(BACKGROUND, channels))
    for column, (title, array) in enumerate(zip(titles, arrays, strict=True)):
        left = GAP + column * (width + GAP)
        write(sheet, (left + width // 2, GAP), title, font)
        own = min(height // array.shape[1], width // array.shape[2])
        dx, dy = (width - array.shape[2] * own) // 2, (height - array.shape[1] * own) // 2
        for row, picture in enumerate(array):
            sheet.paste(enlarge(picture, own), (left + dx, top + row * (height + GAP) + dy))
    return sheet


def as_array(pictures: Tensor | np.ndarray) -> np.ndarray:
    """uint8 (N, C, H, W) as an array (N, H, W, C). Raises ValueError for other shapes and types."""
    array = pictures.detach().cpu().numpy() if isinstance(pictures, Tensor) else np.asarray(pictures)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise ValueError(f"pictures are uint8 (N, 1 or 3, H, W), not {array.dtype} {array.shape}")
    return array.transpose(0, 2, 3, 1)


def enlarge(picture: np.ndarray, factor: int) -> Image.Image:
    """uint8 (H, W, C) as an image enlarged by `factor`, nearest neighbour."""
    flat = picture[..., 0] if picture.shape[-1] == 1 else picture
    return Image.fromarray(np.ascontiguousarray(flat.repeat(factor, 0).repeat(factor, 1)))


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def legible(width: int) -> Font:
    """Pillow's default font, in a size that suits a picture of this width in pixels."""
    return ImageFont.load_default(min(18, max(11, width // 8)))


def wrap(text: str, font: Font, width: int, lines: int = 3) -> str:
    """The text broken into at most `lines` lines of at most `width` pixels; what does not fit is
    replaced by an ellipsis."""
    done: list[str] = []
    words = " ".join(text.split()).split(" ")
    while words and len(done) < lines:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        done.append(line)
    if words:
        done[-1] += " …"
    return "\n".join(_cut(line, font, width) for line in done)


def text_height(text: str, font: Font) -> int:
    """The height of a wrapped text in pixels, with a margin; 0 for no text."""
    return text.count("\n") * _line(font) + _line(font) + 2 * GAP if text else 0


def write(sheet: Image.Image, at: tuple[int, int], text: str, font: Font) -> None:
    """Write a wrapped text below y, centred at x. at: (x, y)."""
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(text.split("\n") if text else []):
        x = at[0] - font.getlength(line) / 2
        draw.text((round(x), at[1] + number * _line(font)), line, _colour(TEXT, len(sheet.getbands())), font)


def _cut(line: str, font: Font, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    line = line.removesuffix(" …")
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"


def _line(font: Font) -> int:
    return math.ceil(font.getbbox("Ågjp")[3]) + 1


def _colour(level: int, channels: int) -> int | tuple[int, ...]:
    return level if channels == 1 else (level,) * channels
