"""The bits that 16-bit samples use: cameras and microscopes write 10 or 12 bits into 16, without scaling them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_TAG, LARGEST_FORMAT_TAG = 281, 341  # TIFF: MaxSampleValue, SMaxSampleValue
GUESSED = (8, 10, 12)  # numbers of bits that are recognised without such a tag
FULL = 65535


def bits_used(largest: int, stated: int = 0) -> int:
    """How many of 16 bits samples use, so that white is 2 to that power, less one.

    largest: the largest sample of a picture's colours; stated: the largest that the file allows for, by its tags, 0 if
    it does not say. Without it a picture that stays below a sixteenth of white is taken to be of 8, 10 or 12 bits.
    """
    if stated and largest <= stated < FULL:
        return max(8, stated.bit_length())
    return next((bits for bits in GUESSED if 0 < largest < 2**bits), 16)


def note(bits: int, largest: int, stated: int = 0) -> str:
    """What was decided, for people."""
    by_tag = stated and largest <= stated < FULL
    why = f"the file names {stated:,} as its largest" if by_tag else f"no sample is over {2**bits - 1:,} of {FULL:,}"
    return f"read as {bits} bits in 16, because {why}"


def stretched(samples: np.ndarray, bits: int) -> np.ndarray:
    """uint16 samples of so many bits with white at 65,535; `shrunk` gives them back exactly."""
    top = 2**bits - 1
    wide = np.minimum(samples, top).astype(np.uint32)
    return ((wide * FULL + top // 2) // top).astype(np.uint16)


def shrunk(samples: np.ndarray, bits: int) -> np.ndarray:
    """uint16 samples with white at 65,535 as samples of so many bits, rounded."""
    top = 2**bits - 1
    return ((samples.astype(np.uint32) * top + FULL // 2) // FULL).astype(np.uint16)


def exact(source: Path | bytes) -> np.ndarray:
    """The 16-bit samples (H, W, C) of a TIFF or PNG, of which Pillow keeps the upper 8 bits. Raises pyvips.Error."""
    import pyvips

    if isinstance(source, bytes):
        image = pyvips.Image.new_from_buffer(source, "")
    else:
        image = pyvips.Image.new_from_file(str(source), revalidate=True)
    array: np.ndarray = image.numpy()
    return array[:, :, None] if array.ndim == 2 else array
