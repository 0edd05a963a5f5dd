"""What a photo's file holds beside its pixels: EXIF, IPTC, XMP, and a PNG's texts and gamma.

The ICC profile and the resolution are pyvips's part. `embed` writes the others.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sfumato.denoising import ifd
from sfumato.denoising.ifd import DamagedError, Directory, Tag

if TYPE_CHECKING:
    import pyvips

PIXELS = frozenset({
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 284, 288, 289, 290, 291),
    *(292, 293, 317, 320, 322, 323, 324, 325, 330, 332, 333, 334, 336, 338, 339, 343, 347, 351),
    *(512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 34675, 37724),
})  # fmt: skip
"""TIFF tags of how pixels are stored, of thumbnails and layers, and of the profile, which pyvips writes."""
RESOLUTION = frozenset({282, 283, 296})
OF_EXIF = frozenset({
    *(270, 271, 272, 274, 282, 283, 296, 301, 305, 306, 315, 316, 318, 319, 33432, ifd.EXIF, ifd.GPS),
    *(18246, 18249, 40091, 40092, 40093, 40094, 40095),
})  # fmt: skip
"""Tags of a TIFF that EXIF has too: description, camera, dates, artist, rating ..."""
RESOURCES = 34377  # TIFF tag of Photoshop's resources
EXIF_MARK, PHOTOSHOP_MARK, PNG = b"Exif\0\0", b"Photoshop 3.0\0", b"\x89PNG\r\n\x1a\n"
RECORDS = 0x0404  # the resource that holds IPTC
XMP_TEXT = b"XML:com.adobe.xmp\0"
TEXTS, COLOURS = (b"tEXt", b"zTXt", b"iTXt"), (b"gAMA", b"cHRM", b"sRGB", b"cICP")


@dataclass(frozen=True)
class Metadata:
    """exif: an EXIF block; tags: the first directory of a TIFF, which has no such block; iptc: records; photoshop:
    JPEG's APP13 as it is; xmp: a packet; texts, colours: chunks of a PNG, (name, content); resolution: pixels
    a millimetre, across and down. Empty where there is none.
    """

    exif: bytes = b""
    tags: Directory = field(default_factory=dict)
    iptc: bytes = b""
    photoshop: bytes = b""
    xmp: bytes = b""
    texts: tuple[tuple[bytes, bytes], ...] = ()
    colours: tuple[tuple[bytes, bytes], ...] = ()
    resolution: tuple[float, float] | None = None

    @property
    def gamma(self) -> float:
        """A PNG's gAMA, 0 if there is none."""
        return next((int.from_bytes(data, "big") / 100_000 for name, data in self.colours if name == b"gAMA"), 0.0)

    @property
    def block(self) -> bytes:
        """The EXIF block; of a TIFF, made of its tags. Without IPTC, which has a place of its own."""
        if self.tags:
            chosen = {number: tag for number, tag in self.tags.items() if number in OF_EXIF}
            return ifd.block(chosen) if chosen.keys() - RESOLUTION else b""
        with contextlib.suppress(DamagedError):
            return ifd.changed(self.exif, ifd.IPTC, None) if ifd.IPTC in ifd.read(self.exif) else self.exif
        return self.exif

    def upright(self) -> Metadata:
        """The same for pixels that have been turned by EXIF's orientation already."""
        with contextlib.suppress(DamagedError):
            if self.exif and ifd.ORIENTATION in ifd.read(self.exif):
                turned = Tag(ifd.SHORT, struct.pack("<H", 1))
                return replace(self, exif=ifd.changed(self.exif, ifd.ORIENTATION, turned))
        return self


def of_file(path: Path, image: pyvips.Image, page: int = 0) -> Metadata:
    """The metadata of a file that pyvips has opened as `image`; page: of a TIFF. What is damaged is left out."""
    fields = set(image.get_fields())

    def blob(name: str) -> bytes:
        return bytes(image.get(name)) if name in fields else b""

    iptc = blob("iptc-data")
    found = Metadata(
        exif=blob("exif-data").removeprefix(EXIF_MARK),
        iptc=records(iptc),
        photoshop=iptc if iptc.startswith(PHOTOSHOP_MARK) else b"",
        xmp=blob("xmp-data"),
        resolution=(image.xres, image.yres) if "resolution-unit" in fields else None,
    )
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] in ifd.HEADS:
            return _of_tiff(file, found, page, (image.xres, image.yres))
        if head == PNG:
            found = _of_png(file, found, (image.xres, image.yres))
    return found if found.iptc else replace(found, iptc=_iptc_of(found.exif))


def of_exif(exif: bytes, xmp: bytes = b"") -> Metadata:
    """The metadata of a file of which another library gave the parts."""
    return Metadata(exif=exif.removeprefix(EXIF_MARK), xmp=xmp, iptc=_iptc_of(exif.removeprefix(EXIF_MARK)))


def _iptc_of(exif: bytes) -> bytes:
    with contextlib.suppress(DamagedError):
        if exif and (tag := ifd.read(exif).get(ifd.IPTC)):
            return tag.data
    return b""


def _of_tiff(file: BinaryIO, found: Metadata, page: int, resolution: tuple[float, float]) -> Metadata:
    try:
        tags = ifd.read(file, page, PIXELS)
    except DamagedError:
        return found
    iptc, resources, xmp = (tags.get(number, Tag(ifd.BYTES)).data for number in (ifd.IPTC, RESOURCES, ifd.XMP))
    stated = None if tags.keys().isdisjoint(RESOLUTION) else resolution
    return replace(found, exif=b"", tags=tags, iptc=iptc or records(resources), xmp=xmp, resolution=stated)


def _of_png(file: BinaryIO, found: Metadata, resolution: tuple[float, float]) -> Metadata:
    texts, colours, stated = [], [], None
    for name, data in chunks(file):
        if name in TEXTS and not data.startswith(XMP_TEXT):
            texts.append((name, data))
        elif name in COLOURS:
            colours.append((name, data))
        elif name == b"pHYs" and data[8:] == b"\1":  # in metres
            stated = resolution
    return replace(found, texts=tuple(texts), colours=tuple(colours), resolution=stated)


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG, its pixels excepted: (name, content). Ends where the file does."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", head)
        if name == b"IDAT":
            file.seek(size + 4, 1)
            continue
        if size > ifd.LARGEST:
            return
        data = file.read(size)
        file.seek(4, 1)
        yield name, data


def records(resources: bytes) -> bytes:
    """IPTC's records in Photoshop's resources, with APP13's mark before them or without; b"" if there are none."""
    if resources[:1] == b"\x1c":
        return resources
    data, at = resources.removeprefix(PHOTOSHOP_MARK), 0
    while data[at : at + 4] == b"8BIM" and at + 12 <= len(data):
        number, name = struct.unpack_from(">HB", data, at + 4)
        begin = at + 6 + (name + 2) // 2 * 2
        if begin + 4 > len(data):
            return b""
        size = struct.unpack_from(">I", data, begin)[0]
        if number == RECORDS:
            return data[begin + 4 : begin + 4 + size]
        at = begin + 4 + (size + 1) // 2 * 2
    return b""


def resources(iptc: bytes) -> bytes:
    """IPTC's records as the content of JPEG's APP13."""
    return PHOTOSHOP_MARK + b"8BIM" + struct.pack(">HHI", RECORDS, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
