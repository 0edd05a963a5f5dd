"""Reading and writing photo files: pixels of 8 or 16 bits, and all other content of the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sfumato.errors import UserError
from sfumato.files import Json, aside
from sfumato.pictures.decode import PictureError, check_size, header

if TYPE_CHECKING:
    import pyvips

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")
MEGAPIXELS = 200
HOW: dict[str, Json] = {
    ".jpg": {"Q": 95, "subsample_mode": "off"},
    ".jpeg": {"Q": 95, "subsample_mode": "off"},
    ".png": {"compression": 6},
    ".webp": {"Q": 95},
    ".tif": {"compression": "lzw"},
    ".tiff": {"compression": "lzw"},
}
LONGEST = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}  # pixels a side
FRAMES = "frames or pages: save the one you want as a picture of its own"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes of TIFF and BigTIFF
COLOUR = {1: "grey", 3: "colour", 4: "CMYK"}


@dataclass(frozen=True)
class Photo:
    """pixels: uint8 or uint16 (H, W, C) as in the file, C = 1 grey, 3 RGB, 4 CMYK; alpha: (H, W) or None;
    file: the picture with its metadata (EXIF with the orientation, ICC profile, XMP, resolution).
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    file: pyvips.Image

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
        bits = 8 * self.pixels.dtype.itemsize
        return f"{width}x{height} {COLOUR[channels]}{', alpha' if self.alpha is not None else ''}, {bits} bit"


def read(path: Path, megapixels: float = MEGAPIXELS) -> Photo:
    """Read a photo. Raises UserError with the file's name: not a picture, truncated, animated, too large."""
    import pyvips

    with _one_line(path):
        check_size(*_sides(path), int(megapixels * 1e6))
        file = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="warning")
        if file.get_n_pages() > 1:
            raise PictureError(f"has {file.get_n_pages()} {FRAMES}")
        if file.format not in ("uchar", "ushort"):
            raise PictureError(f"has samples of type {file.format}: save it with 8 or 16 bits")
        array = file.numpy()
    array = array[:, :, None] if array.ndim == 2 else array
    alpha = None
    if file.hasalpha():
        array, alpha = array[:, :, :-1], np.ascontiguousarray(array[:, :, -1])
    if array.shape[2] not in COLOUR:
        raise UserError(f"{path}: has {array.shape[2]} channels: save it as grey, RGB or CMYK")
    return Photo(np.ascontiguousarray(array), alpha, file)


def check_fits(photo: Photo, path: Path) -> None:
    """Raise UserError if the format of a name's extension is unknown or cannot hold the photo."""
    suffix, (height, width, channels) = path.suffix.lower(), photo.pixels.shape
    if suffix not in HOW:
        raise UserError(f"{path}: unknown picture format {suffix or '(no ending)'}; known: {', '.join(HOW)}")
    if photo.pixels.dtype == np.uint16 and suffix not in (".png", ".tif", ".tiff"):
        raise UserError(f"{path}: {suffix} holds 8 bits and the photo has 16: write .png or .tif")
    if channels == 4 and suffix not in (".jpg", ".jpeg", ".tif", ".tiff"):
        raise UserError(f"{path}: {suffix} holds no CMYK: write .jpg or .tif")
    if photo.alpha is not None and suffix in (".jpg", ".jpeg"):
        raise UserError(f"{path}: {suffix} holds no transparency: write .png, .webp or .tif")
    if max(height, width) > LONGEST.get(suffix, 2**31):
        raise UserError(f"{path}: {suffix} holds {LONGEST[suffix]} pixels a side, and this is {width}x{height}")


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

    bands = pixels if photo.alpha is None else np.concatenate([pixels, photo.alpha[:, :, None]], 2)
    image = pyvips.Image.new_from_array(np.ascontiguousarray(bands), interpretation=photo.file.interpretation)
    image = image.copy(xres=photo.file.xres, yres=photo.file.yres)
    core = set(image.get_fields())
    for name in photo.file.get_fields():
        if name not in core and not name.startswith(("palette", "bits-per-sample", "n-pages", "vips-")):
            image.set_type(photo.file.get_typeof(name), name, photo.file.get(name))
    with _one_line(target, "cannot be written"):
        image.write_to_file(str(file), keep="all", **HOW[target.suffix.lower()])


def _sides(path: Path) -> tuple[int, int]:
    """Height and width by the header. Raises PictureError on BMP and animated PNG.

    TIFFs are read by libvips, since Pillow does not support all kinds.
    """
    import pyvips

    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(4) in TIFF:
            claimed = pyvips.Image.tiffload(str(path))
            return claimed.height, claimed.width
    head = header(path)
    if head.kind == "BMP":
        raise PictureError("a BMP, which is not supported: save it as PNG")
    if head.kind == "PNG" and head.frames > 1:  # libvips counts one
        raise PictureError(f"has {head.frames} {FRAMES}")
    return head.height, head.width


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
