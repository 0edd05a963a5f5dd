"""Reading and writing photo files: pixels of 8 or 16 bits, and all other content of the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sfumato.denoising.embed import embed, lost
from sfumato.denoising.metadata import Metadata
from sfumato.denoising.opening import opened
from sfumato.errors import UserError
from sfumato.files import Json, aside
from sfumato.pictures import depth
from sfumato.pictures.decode import PictureError

if TYPE_CHECKING:
    import pyvips

MEGAPIXELS = 200
KINDS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "jpg"),
    **{".png": "png", ".webp": "webp", ".tif": "tif", ".tiff": "tif"},
}
"""Formats that are written, by the endings of names."""
HOW: dict[str, Json] = {
    "jpg": {"Q": 95, "subsample_mode": "off"},
    "png": {"compression": 6},
    "webp": {"Q": 95},
    "tif": {"compression": "lzw"},
}
SUFFIXES = tuple(KINDS)
LONGEST = {"webp": 16383, "jpg": 65500}  # pixels a side
PROFILE = "icc-profile-data"
COLOUR = {1: "grey", 3: "colour", 4: "CMYK"}


@dataclass(frozen=True)
class Photo:
    """pixels: uint8 or uint16 (H, W, C), C = 1 grey, 3 RGB, 4 CMYK; alpha: (H, W) or None; file: the opened picture,
    with its ICC profile and resolution; meta: the file's other contents; pages: how many it has; bits: of 16, how many
    its samples use, though `pixels` have white at 65,535; notes: how the file was read.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    file: pyvips.Image
    meta: Metadata = field(default_factory=Metadata)
    pages: int = 1
    bits: int = 16
    notes: tuple[str, ...] = ()

    @property
    def top(self) -> int:
        """The value of white."""
        return int(np.iinfo(self.pixels.dtype).max)

    @property
    def orientation(self) -> int:
        """EXIF's orientation, 1 if there is none."""
        return int(self.file.get("orientation")) if "orientation" in self.file.get_fields() else 1

    def words(self) -> str:
        height, width, channels = self.pixels.shape
        bits = 8 if self.pixels.dtype == np.uint8 else self.bits
        return f"{width}x{height} {COLOUR[channels]}{', alpha' if self.alpha is not None else ''}, {bits} bit"


def read(path: Path, megapixels: float = MEGAPIXELS, page: int | None = None) -> Photo:
    """Read a photo; page: of several in one file, from 1, None for the first.

    Raises UserError with the file's name: not a picture, truncated, too large, an animation, no such page, an extra
    that is not installed.
    """
    with _one_line(path):
        found = opened(path, page, int(megapixels * 1e6))
        file = found.image
        if file.format not in ("uchar", "ushort"):
            raise PictureError(f"has samples of type {file.format}: save it with 8 or 16 bits")
        most = {"b-w": 2, "grey16": 2, "cmyk": 5}.get(file.interpretation, 4)
        if file.bands > most:
            raise PictureError(f"has {file.bands} channels: save it as grey, RGB or CMYK, with or without alpha")
        array = file.numpy()
    array = array[:, :, None] if array.ndim == 2 else array
    alpha, notes, bits = None, found.notes, 16
    if array.shape[2] in (2, 5) or (array.shape[2] == 4 and file.interpretation != "cmyk"):
        array, alpha = array[:, :, :-1], np.ascontiguousarray(array[:, :, -1])
    if array.dtype == np.uint16:
        largest = int(array.max())
        bits = depth.bits_used(largest, found.largest)
        if bits < 16:
            array, notes = depth.stretched(array, bits), (*notes, depth.note(bits, largest, found.largest))
    return Photo(np.ascontiguousarray(array), alpha, file, found.meta, found.pages, bits, notes)


def check_fits(photo: Photo, path: Path) -> None:
    """Raise UserError if the format of a name's extension is unknown or cannot hold the photo."""
    suffix, (height, width, channels) = path.suffix.lower(), photo.pixels.shape
    kind = KINDS.get(suffix, "")
    if not kind:
        raise UserError(f"{path}: unknown picture format {suffix or '(no ending)'}; known: {', '.join(KINDS)}")
    if photo.pixels.dtype == np.uint16 and kind not in ("png", "tif"):
        raise UserError(f"{path}: {suffix} holds 8 bits and the photo has 16: write .png or .tif")
    if channels == 4 and kind not in ("jpg", "tif"):
        raise UserError(f"{path}: {suffix} holds no CMYK: write .jpg or .tif")
    if photo.alpha is not None and kind == "jpg":
        raise UserError(f"{path}: {suffix} holds no transparency: write .png, .webp or .tif")
    if max(height, width) > LONGEST.get(kind, 2**31):
        raise UserError(f"{path}: {suffix} holds {LONGEST[kind]} pixels a side, and this is {width}x{height}")


def kept_back(photo: Photo, path: Path) -> list[str]:
    """What of the photo's metadata the format of a name's extension cannot hold: one line each."""
    return lost(photo.meta, KINDS[path.suffix.lower()])


def write(photo: Photo, pixels: np.ndarray, path: Path) -> Path:
    """Write `pixels`, of the shape and type of photo.pixels, with everything else as it was in the photo's file.

    The format follows the name's extension. Raises UserError if it is unknown, or cannot hold 16 bits, CMYK or alpha,
    or if the disk is full; an existing file is intact then.
    """
    check_fits(photo, path)
    with aside(path) as temporary:
        put(photo, pixels, temporary, path)
    return path


def put(photo: Photo, pixels: np.ndarray, file: Path, target: Path) -> None:
    """Write as `write` does, but directly into `file`; target: the name for the format and for error messages."""
    import pyvips

    pixels = depth.shrunk(pixels, photo.bits) if photo.bits < 16 else pixels
    bands = pixels if photo.alpha is None else np.concatenate([pixels, photo.alpha[:, :, None]], 2)
    image = pyvips.Image.new_from_array(np.ascontiguousarray(bands), interpretation=photo.file.interpretation)
    image = image.copy(xres=photo.file.xres, yres=photo.file.yres)
    if PROFILE in photo.file.get_fields():
        image.set_type(pyvips.GValue.blob_type, PROFILE, photo.file.get(PROFILE))
    kind = KINDS[target.suffix.lower()]
    with _one_line(target, "cannot be written"):
        image.write_to_file(str(file), keep="icc", **HOW[kind])
    embed(photo.meta, file, kind)


@contextlib.contextmanager
def _one_line(path: Path, trouble: str = "damaged or not readable") -> Iterator[None]:
    """Turn exceptions of pyvips and the decoder into one line with the file's name."""
    import pyvips

    try:
        yield
    except PictureError as error:
        raise UserError(f"{path}: {error}") from error
    except pyvips.Error as error:
        text = " ".join(f"{error.message} {error.detail}".split())
        if "No space left" in text or "File too large" in text:
            raise OSError(28, "No space left on device", str(path)) from error
        raise UserError(f"{path}: {trouble} ({text[:120]})") from error
