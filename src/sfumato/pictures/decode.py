"""One picture file to one array, safely.

Files are untrusted: the header is read and checked before a pixel is decoded, only the formats of `kinds` are accepted
(HEIC with the extra `heic`), and every failure becomes a `PictureError` of one line.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from sfumato.pictures.errors import ExtraError, PictureError, TooLargeError
from sfumato.pictures.kinds import HEAD, kind_of
from sfumato.pictures.narrow import BITS, to_uint8

# Importing a reader registers it under its format
READERS = (
    *(AvifImagePlugin, BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin),
    WebPImagePlugin,
)
MAX_BYTES = 2**30

ORIENTATION = 0x0112  # EXIF and TIFF
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
OTHER_FORMATS = {
    b"%PDF": "a PDF",
    b"<": "text",
    b"PK\x03\x04": "a ZIP archive",
    b"8BPS": "a PSD",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What a file's header states: sides in pixels after rotation by EXIF, a readable mode ("RGB", "L 16-bit", "CMYK"),
    the format, and the number of frames or pages."""

    height: int
    width: int
    mode: str
    kind: str = ""
    frames: int = 1

    @property
    def size(self) -> str:
        """ "WIDTHxHEIGHT"."""
        return f"{self.width}x{self.height}"


def decode(
    source: Path | bytes,
    *,
    max_pixels: int = 200_000_000,
    shorter: int | None = None,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Decode one JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or, with the extra `heic`, HEIC.

    The first frame, upright by its EXIF orientation, alpha composited on white, 16-bit scaled to 8, CMYK and
    palettes turned to RGB. With `shorter`, a JPEG may be decoded at a half, quarter or eighth of its size, as
    long as its shorter side keeps that many pixels. notes: receives how an unusual file was read: which of several
    frames, which part of 16 bits.

    Returns uint8 (H, W, C), with C = 1 for grey modes and 3 for the others. Raises PictureError.
    """
    said: list[str] = [] if notes is None else notes
    with _tidy(source), _opened(source, max_pixels) as image:
        if notes is not None and (frames := _frames(image)) > 1:
            said.append(f"the first of its {frames} {'pages' if image.format == 'TIFF' else 'frames'} is used")
        if image.format == "PNG":
            _check_sums(source, max_pixels)
        if shorter is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
            image.draft(None, (shorter, shorter))
        raw, bits = _raw_mode(image), _bits(image)
        image.load()
        array = to_uint8(image, raw, bits, source, said)
        turn = UPRIGHT.get(_orientation(image))
        if turn is not None:
            array = np.asarray(Image.fromarray(array).transpose(turn))
        array = array[:, :, None] if array.ndim == 2 else array
        return array if array.flags.writeable and array.flags.c_contiguous else array.copy()


def header(source: Path | bytes) -> Header:
    """The file's header, without decoding and without a limit of size. Raises PictureError."""
    with _tidy(source), _opened(source, None) as image:
        width, height = image.size
        upright = isinstance(image, TiffImagePlugin.TiffImageFile)  # its reader swaps the sides itself
        if _orientation(image) >= 5 and not upright:
            width, height = height, width
        bits = " 16-bit" if _bits(image) > 8 and image.mode != "F" else ""
        mode = "L" if image.mode.startswith("I") else image.mode
        return Header(height, width, mode + bits, image.format or "", _frames(image))


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Raise TooLargeError if a picture of this size is over the limit."""
    if height * width > max_pixels:
        limit = max_pixels / 1e6
        raise TooLargeError(f"claims {width} x {height} pixels, over the limit of {limit:g} megapixels")


@contextlib.contextmanager
def _tidy(source: Path | bytes) -> Iterator[None]:
    """Turn every exception of a decoder into a PictureError of one line."""
    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise TooLargeError(_line(error)) from error
    except MemoryError as error:
        raise PictureError("not enough memory to decode it") from error
    except PermissionError as error:
        raise PictureError("no permission to read it") from error
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        raise PictureError(f"damaged: {_line(error)}") from error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."


@contextlib.contextmanager
def _opened(source: Path | bytes, max_pixels: int | None) -> Iterator[Image.Image]:
    """The lazily opened picture, its header within the limit.

    The format's own reader is called instead of `Image.open`, so that Pillow's process-wide pixel limit
    neither overrides ours nor has to be changed.
    """
    with _stream(source) as stream:
        head = stream.read(HEAD)
        stream.seek(0)
        if not head:
            raise PictureError("empty file")
        if kind := kind_of(head):
            factory = _reader(kind)
            image = factory(stream, "")
            if min(image.size) < 1:
                raise PictureError("has no pixels")
            if max_pixels is not None:
                check_size(image.height, image.width, max_pixels)
            yield image
            return
    other = next((what for start, what in OTHER_FORMATS.items() if head.startswith(start)), None)
    raise PictureError(
        "not a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC picture" + (f" (looks like {other})" if other else "")
    )


def _reader(kind: str) -> Callable[..., Image.Image]:
    """Pillow's reader of a format. Raises PictureError if it is not installed."""
    if kind == "HEIF":
        try:
            from pillow_heif import register_heif_opener
        except ImportError as error:
            raise ExtraError("a HEIC photo, which needs: pip install 'sfumato[heic]'") from error
        register_heif_opener()
    if kind == "AVIF" and not features.check("avif"):
        raise ExtraError("an AVIF picture, which this build of Pillow cannot read: save it as JPEG or PNG")
    return Image.OPEN[kind][0]


def _frames(image: Image.Image) -> int:
    """Frames or pages; of HEIC only the main picture counts."""
    return 1 if image.format == "HEIF" else getattr(image, "n_frames", 1)


def _stream(source: Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if not source.is_file():
        raise PictureError("not a regular file" if source.exists() else "the file does not exist")
    if source.stat().st_size > MAX_BYTES:
        raise TooLargeError(f"the file is larger than {MAX_BYTES >> 30} GiB")
    return source.open("rb")


def _check_sums(source: Path | bytes, max_pixels: int) -> None:
    """Verify a PNG's own checksums, which decoding alone does not check."""
    with _opened(source, max_pixels) as image:
        image.verify()


def _orientation(image: Image.Image) -> int:
    if isinstance(image, PngImagePlugin.PngImageFile) and image.tile and "exif" not in image.info:
        return 1  # getexif() would decode all pixels, to search for EXIF after them
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # a broken EXIF block does not spoil the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _raw_mode(image: Image.Image) -> str:
    """The layout of the samples in the file ("RGB;16B"), before loading."""
    tiles: Any = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    raw = arguments if isinstance(arguments, str) else arguments[0] if arguments else ""
    return raw if isinstance(raw, str) else ""


def _bits(image: Image.Image) -> int:
    """Bits of one sample in the file."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(BITS, 1)
        return int(bits[0] if isinstance(bits, tuple) else bits)
    return 16 if "16" in _raw_mode(image) else 8
