"""One picture file to one array, safely.

Files are untrusted: the header is read and checked before a pixel is decoded, only five
formats are accepted (and HEIC with the extra `heic`), and every failure becomes a `PictureError` of one line.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

# Importing a reader registers it under its format
READERS = (BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif")
HEIC = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")  # brands of the photos of telephones
MAX_BYTES = 2**30

ORIENTATION, BITS, PHOTOMETRIC = 0x0112, 258, 262  # EXIF and TIFF tags
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
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"<": "text",
    b"PK\x03\x04": "a ZIP archive",
    b"8BPS": "a PSD",
}


class PictureError(Exception):
    """A picture that cannot be used; the message is one line that says why."""


class TooLargeError(PictureError):
    """A picture refused by its header or file size, before anything was decoded."""


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


def decode(source: Path | bytes, *, max_pixels: int = 200_000_000, shorter: int | None = None) -> np.ndarray:
    """Decode one JPEG, PNG, WebP, BMP, TIFF or, with the extra `heic`, HEIC.

    The first frame, upright by its EXIF orientation, alpha composited on white, 16-bit scaled to 8, CMYK and
    palettes turned to RGB. With `shorter`, a JPEG may be decoded at a half, quarter or eighth of its size, as
    long as its shorter side keeps that many pixels.

    Returns uint8 (H, W, C), with C = 1 for grey modes and 3 for the others. Raises PictureError.
    """
    with _tidy(source), _opened(source, max_pixels) as image:
        if image.format == "PNG":
            _check_sums(source, max_pixels)
        if shorter is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
            image.draft(None, (shorter, shorter))
        raw, bits = _raw_mode(image), _bits(image)
        image.load()
        array = _to_uint8(image, raw, bits)
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
        return Header(height, width, mode + bits, image.format or "", getattr(image, "n_frames", 1))


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
        head = stream.read(16)
        stream.seek(0)
        if not head:
            raise PictureError("empty file")
        heic = head[4:8] == b"ftyp" and head[8:12] in HEIC and _register_heic()
        for name in ("HEIF",) if heic else FORMATS:
            factory, accept = Image.OPEN[name]
            if accept is None or not (heic or accept(head) is True):
                continue
            image = factory(stream, "")
            if min(image.size) < 1:
                raise PictureError("has no pixels")
            if max_pixels is not None:
                check_size(image.height, image.width, max_pixels)
            yield image
            return
    other = next((what for start, what in OTHER_FORMATS.items() if head.startswith(start)), None)
    raise PictureError("not a JPEG, PNG, WebP, BMP or TIFF picture" + (f" (looks like {other})" if other else ""))


def _register_heic() -> bool:
    """Register the reader of HEIC. Raises PictureError if it is not installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise PictureError("a HEIC photo, which needs: pip install 'sfumato[heic]'") from error
    register_heif_opener()
    return True


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


def _to_uint8(image: Image.Image, raw: str, bits: int) -> np.ndarray:
    """Pixels of a loaded picture as uint8 (H, W) or (H, W, 3)."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _narrow(image, bits)
    if image.mode in ("RGBa", "La"):
        image = image.convert({"RGBa": "RGBA", "La": "LA"}[image.mode])
    key = image.info.get("transparency")
    if image.mode in ("RGBA", "LA", "PA") or (image.mode == "P" and key is not None):
        return _on_white(image, grey=image.mode == "LA" or raw.startswith("LA"))
    if image.mode not in ("1", "L", "RGB", "RGBX", "P", "CMYK", "YCbCr"):
        raise PictureError(f"colour mode {image.mode} is not supported: save it as RGB")
    array = np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    if key is not None and image.mode in ("1", "L", "RGB"):  # one colour of the file means transparent
        steps = {"L;2": 85, "L;4": 17}.get(raw, 1)
        colour = np.atleast_1d(key) // 256 if bits == 16 else np.atleast_1d(key) * steps
        clear = (array.reshape(*array.shape[:2], -1) == colour).all(axis=2)
        array = array.copy()
        array[clear] = 255
    return array


def _on_white(image: Image.Image, grey: bool) -> np.ndarray:
    image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return np.asarray(canvas.getchannel(0) if grey else canvas)


def _narrow(image: Image.Image, bits: int) -> np.ndarray:
    """Grey of more than 8 bits scaled to 8: by the file's bits, or, for 32 bits, by the range it uses."""
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0:
        raise PictureError("has values below zero or not finite: save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        top = 2**bits - 1 if 8 < bits <= 16 else 65535
    elif image.mode == "I" and bits == 16:
        top = 65535
    else:
        tops = (1, 255, 65535) if image.mode == "F" else (255, 65535)
        top = next((t for t in tops if high <= t), 0)
        if not top:
            raise PictureError(f"has values up to {high:g} with no agreed white: save it with 8 or 16 bits")
    scaled = np.rint(values.astype(np.float32) * np.float32(255 / top)).clip(0, 255).astype(np.uint8)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == 0:
        scaled = 255 - scaled  # white is zero
    key = image.info.get("transparency")
    if isinstance(key, int):
        scaled[values == key] = 255
    return scaled
