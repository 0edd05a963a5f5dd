"""Opens photo files of every format that is read: a picture of pyvips, its metadata, and what to know of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from sfumato.denoising import ifd, metadata
from sfumato.denoising.metadata import Metadata
from sfumato.pictures.decode import PictureError, check_size, decode, header
from sfumato.pictures.depth import LARGEST_FORMAT_TAG, LARGEST_TAG
from sfumato.pictures.kinds import RAW, kind_of_file

if TYPE_CHECKING:
    import pyvips

DEVELOPED = "developed to 16 bits with the camera's white balance"
TAGS_OF_RAW = frozenset(metadata.OF_EXIF - {ifd.ORIENTATION} - metadata.RESOLUTION)


@dataclass(frozen=True)
class Opened:
    """image: of pyvips, perhaps not yet decoded; meta: the file's other contents; pages: how many there are; largest:
    the largest sample by a TIFF's tags, 0 if it does not say; notes: how the file was read.
    """

    image: pyvips.Image
    meta: Metadata
    pages: int = 1
    largest: int = 0
    notes: tuple[str, ...] = ()


def opened(path: Path, page: int | None, max_pixels: int) -> Opened:
    """Open a photo file; page: of a TIFF, GIF or WebP, from 1, None for the first.

    Raises pyvips.Error, and PictureError: no picture, too large, an animation without a page, no such page, a missing
    extra.
    """
    if path.suffix.lower() in RAW:
        _single(page)
        return _raw(path, max_pixels)
    kind = kind_of_file(path)
    if kind in ("TIFF", "GIF", "WEBP"):
        return _paged(path, kind, page, max_pixels)
    head = header(path)
    check_size(head.height, head.width, max_pixels)
    if kind == "PNG" and head.frames > 1:  # libvips reads one
        raise PictureError(f"an animation, has {head.frames} frames: save the one you want as a picture of its own")
    _single(page)
    if kind == "HEIF":
        return _heic(path)
    if kind == "BMP":
        return Opened(_image(decode(path, max_pixels=max_pixels)), Metadata())
    image = _vips(path)
    meta = metadata.of_file(path, image)
    return Opened(image, meta.upright() if kind == "AVIF" else meta)  # libvips turns an AVIF itself


def _single(page: int | None) -> None:
    if page not in (None, 1):
        raise PictureError(f"has 1 page, and --page is {page}")


def _vips(path: Path, **options: int) -> pyvips.Image:
    """Without pyvips's memory of files that have changed since."""
    import pyvips

    return pyvips.Image.new_from_file(str(path), access="sequential", fail_on="warning", revalidate=True, **options)


def _paged(path: Path, kind: str, page: int | None, max_pixels: int) -> Opened:
    """TIFFs are measured by libvips, since Pillow does not support all kinds."""
    if kind != "TIFF":
        head = header(path)
        check_size(head.height, head.width, max_pixels)
    first, index, what = _vips(path), (page or 1) - 1, "page" if kind == "TIFF" else "frame"
    pages = first.get_n_pages()
    if pages > 1 and page is None and kind == "WEBP":
        raise PictureError(f"an animation, has {pages} frames: choose one with --page")
    if index >= pages:
        raise PictureError(f"has {pages} {what}{'' if pages == 1 else 's'}, and --page is {page}")
    image = _vips(path, page=index) if index else first
    check_size(image.height, image.width, max_pixels)
    notes = () if pages == 1 or page else (f"has {pages} {what}s, the first is cleaned: --page takes another",)
    return Opened(image, metadata.of_file(path, image, index), pages, _largest(path, index), notes)


def _largest(path: Path, page: int) -> int:
    """The largest sample by a TIFF's tags, 0 if it does not say."""
    with contextlib.suppress(ifd.DamagedError), path.open("rb") as file:
        tags = ifd.read(file, page)
        return (tags.get(LARGEST_FORMAT_TAG) or tags.get(LARGEST_TAG) or ifd.Tag(ifd.SHORT)).number
    return 0


def _image(pixels: np.ndarray) -> pyvips.Image:
    """uint8 or uint16 (H, W, C), C from 1 to 4, as a picture of pyvips."""
    import pyvips

    names = ("b-w", "srgb") if pixels.dtype == np.uint8 else ("grey16", "rgb16")
    return pyvips.Image.new_from_array(np.ascontiguousarray(pixels), interpretation=names[pixels.shape[2] > 2])


def _heic(path: Path) -> Opened:
    """By pillow-heif, which turns it upright; more than 8 bits become 16. That it is installed `header` has found."""
    import pillow_heif
    import pyvips

    file = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)
    info, pixels = dict(file.info), np.asarray(file)
    pillow_heif.set_orientation(info)  # EXIF's and XMP's become 1
    image = _image(pixels if pixels.ndim == 3 else pixels[:, :, None])
    if profile := info.get("icc_profile"):
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return Opened(image, metadata.of_exif(info.get("exif") or b"", info.get("xmp") or b""))


def _raw(path: Path, max_pixels: int) -> Opened:
    """Most raw files are TIFFs, so that their EXIF can be read as one's; others lose it, which is noted."""
    try:
        import rawpy
    except ImportError as error:
        raise PictureError("a camera's raw file, which needs: pip install 'sfumato[raw]'") from error
    image = _image(_developed(rawpy, path, max_pixels))
    with contextlib.suppress(ifd.DamagedError), path.open("rb") as file:
        tags = {number: tag for number, tag in ifd.read(file).items() if number in TAGS_OF_RAW}
        return Opened(image, metadata.of_exif(ifd.block(tags)), notes=(DEVELOPED,))
    return Opened(image, Metadata(), notes=(DEVELOPED, "its EXIF cannot be read and is left out"))


def _developed(rawpy: ModuleType, path: Path, max_pixels: int) -> np.ndarray:
    """uint16 (H, W, 3), upright, in sRGB."""
    if not path.is_file():
        raise PictureError("not a regular file" if path.exists() else "the file does not exist")
    try:
        with rawpy.imread(str(path)) as raw:
            check_size(raw.sizes.height, raw.sizes.width, max_pixels)
            pixels: np.ndarray = raw.postprocess(use_camera_wb=True, output_bps=16, no_auto_bright=True)
            return pixels
    except PictureError:
        raise
    except Exception as error:  # LibRaw's errors have no common type
        raise PictureError(f"damaged or not a raw file ({' '.join(str(error).split())[:100]})") from error
