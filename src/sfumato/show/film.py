"""The reverse process (noise to picture) and the forward process as a GIF and as a strip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from sfumato.files import aside
from sfumato.pictures.pixels import to_uint8
from sfumato.show.grid import BACKGROUND, as_array, grid, legible, side_by_side, text_height, wrap, write

FRAMES_PER_SECOND = 12
COLOURS, GREYS = 240, 16
"""The 256 colours of a frame: those of the pictures, and a ramp of greys for background and text."""


def frame(x: Tensor, alpha: float, sigma: float, sigma_data: float = 0.5) -> Tensor:
    """A state of the process at the level (alpha, sigma) as pictures.

    x: float (N, C, H, W), alpha * x0 + sigma * n with x0 in [-1, 1]. It is scaled to the standard deviation of a clean
    picture, x * sigma_data / sqrt(alpha^2 sigma_data^2 + sigma^2), so that neither sigma = 80 nor alpha = 0
    saturates; at (1, 0) it stays x. Returns uint8 (N, C, H, W) on the CPU.
    """
    return to_uint8(x * (sigma_data / math.hypot(alpha * sigma_data, sigma)))


def gif(
    frames: Sequence[Tensor | np.ndarray],
    path: Path,
    captions: Sequence[str] | None = None,
    seconds: float = 4.0,
    hold: float = 1.5,
    columns: int | None = None,
    scale: int | None = None,
) -> None:
    """Write the process as an endless GIF.

    frames: uint8 (N, C, H, W) each, all of one shape, in order. captions: one text per frame, such as "sigma 4.1".
    seconds: length of the process; if there are more than FRAMES_PER_SECOND frames a second, evenly spaced ones are
    shown, always with the first and the last. hold: seconds for which the last frame stays.

    Every frame has its own palette, chosen without dithering before the pictures are enlarged: dithering would change
    the noise, and runs of equal pixels keep the file small.
    """
    kept = evenly(len(frames), max(2, round(seconds * FRAMES_PER_SECOND)))
    if captions is not None and len(captions) != len(frames):
        raise ValueError(f"{len(frames)} frames and {len(captions)} captions")
    images = [_indexed(frames[k], captions[k] if captions else "", columns, scale, k == kept[-1]) for k in kept]
    each = max(20, round(seconds * 100 / len(images)) * 10)  # a GIF counts in hundredths of a second
    durations = [each] * (len(images) - 1) + [each + round(hold * 1000)]
    with aside(path) as temporary:
        images[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=durations,
            loop=0,
            optimize=False,
        )


def strip(
    frames: Sequence[Tensor | np.ndarray],
    path: Path,
    columns: int = 10,
    captions: Sequence[str] | None = None,
    scale: int | None = None,
) -> None:
    """Write the process as a PNG: one row per picture, `columns` evenly spaced states from left to right.

    frames and captions as for `gif`; the captions are above the columns.
    """
    if captions is not None and len(captions) != len(frames):
        raise ValueError(f"{len(frames)} frames and {len(captions)} captions")
    pairs = [(captions[k] if captions else "", frames[k]) for k in evenly(len(frames), columns)]
    image = side_by_side(pairs, scale)
    with aside(path) as temporary:
        image.save(temporary, format="PNG", optimize=True)


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 .. count - 1, evenly spaced, first and last included."""
    if count < 1:
        raise ValueError("a film needs at least one frame")
    if most < 2 or count <= most:
        return list(range(count))[-max(most, 1) :]
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]


def _indexed(
    frame: Tensor | np.ndarray, caption: str, columns: int | None, scale: int | None, last: bool
) -> Image.Image:
    """A grid with a caption under it, in 256 colours (mode P); for the last frame the palette is refined."""
    array = as_array(frame)
    flat = np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:3], 3))).reshape(-1, array.shape[2], 3)
    few = Image.fromarray(flat).quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=int(last), dither=Image.Dither.NONE)
    palette = (few.getpalette() or [])[: 3 * COLOURS]
    greys = [level * 255 // (GREYS - 1) for level in range(GREYS) for _ in range(3)]
    places = np.asarray(few).reshape(array.shape[0], 1, *array.shape[1:3])
    sheet = np.asarray(grid(places, columns, scale))  # the background, 255, is the last grey: white
    if caption:
        font = legible(sheet.shape[1])
        text = wrap(caption, font, sheet.shape[1], lines=1)
        bar = Image.new("L", (sheet.shape[1], text_height(text, font)), BACKGROUND)
        write(bar, (bar.width // 2, 0), text, font)
        levels = np.asarray(bar).astype(int) * (GREYS - 1) // 255
        sheet = np.concatenate([sheet, (COLOURS + levels).astype(np.uint8)])
    image = Image.fromarray(sheet).convert("P")
    image.putpalette(palette + [0] * (3 * COLOURS - len(palette)) + greys)
    return image
