"""Puts metadata into a picture file that was written without any: JPEG, PNG, WebP or TIFF. Nothing is added.

EXIF is copied byte by byte, except into a TIFF, whose first directory takes its tags. PNG and WebP have no place for
IPTC; it goes into tag 33723 of EXIF, where TIFF has it too and exiftool looks for it.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from sfumato.denoising import ifd
from sfumato.denoising.ifd import DamagedError, Directory, Tag
from sfumato.denoising.metadata import (
    EXIF_MARK,
    PIXELS,
    PNG,
    RESOLUTION,
    XMP_TEXT,
    Metadata,
    resources,
)

XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
SEGMENT = 65_533  # most bytes of a JPEG's segment
USUAL = 0.445, 0.465  # a gAMA of 1 / 2.2 changes nothing
TEXTS_OF_TIFF = (270, 271, 272, 305, 306, 315, 316, 33432)  # description, camera, software, date, artist, rights
ICC, EXIF, XMP, ALPHA = 0x20, 0x08, 0x04, 0x10  # flags of a WebP


def lost(meta: Metadata, kind: str) -> list[str]:
    """What of the metadata a format ("jpg", "png", "webp", "tif") cannot hold: one line each."""
    lines = []
    if kind == "jpg":
        parts = {"EXIF": EXIF_MARK + meta.block, "XMP": XMP_MARK + meta.xmp, "IPTC": _app13(meta)}
        long = {what: len(part) for what, part in parts.items() if len(part) > SEGMENT}
        lines += [f"{what} of {size:,} bytes is too long for .jpg and is left out" for what, size in long.items()]
    if kind != "png" and meta.gamma and not USUAL[0] <= meta.gamma <= USUAL[1]:
        lines.append(f"its gamma (gAMA {meta.gamma:g}) is left out, which changes how bright it looks: write .png")
    if kind != "png" and meta.texts:
        names = dict.fromkeys(data.split(b"\0")[0].decode("latin-1") for _, data in meta.texts)
        lines.append(f"texts of the PNG ({', '.join(names)}) are left out: write .png to keep them")
    if kind == "tif" and meta.exif:
        try:
            ifd.read(meta.exif)
        except DamagedError as error:
            lines.append(f"its EXIF is damaged ({error}) and is left out")
    return lines


def embed(meta: Metadata, file: Path, kind: str) -> None:
    """Put metadata into a file that pyvips wrote with no more than a profile; kind: "jpg", "png", "webp" or "tif"."""
    if kind == "tif":
        with file.open("r+b") as stream:
            _tiff(meta, stream)
    elif kind == "webp":
        with file.open("r+b") as stream:
            _webp(meta, stream)
    else:
        longer = file.with_name(f"{file.name}.part")
        try:
            with file.open("rb") as source, longer.open("wb") as target:
                (_jpeg if kind == "jpg" else _png)(meta, source, target)
            longer.replace(file)
        finally:
            longer.unlink(missing_ok=True)


def _app13(meta: Metadata) -> bytes:
    return meta.photoshop or (resources(meta.iptc) if meta.iptc else b"")


def _with_iptc(meta: Metadata) -> bytes:
    """The EXIF block with IPTC in it."""
    if not meta.iptc:
        return meta.block
    tag = Tag(ifd.UNDEFINED, meta.iptc)
    try:
        return ifd.changed(meta.block, ifd.IPTC, tag) if meta.block else ifd.block({ifd.IPTC: tag})
    except DamagedError:
        return meta.block


def _jpeg(meta: Metadata, source: BinaryIO, target: BinaryIO) -> None:
    """At the beginning, behind a JFIF segment with the resolution, or with none."""
    target.write(source.read(2))
    density = [0, 1, 1]
    if meta.resolution is not None:
        density = [1, *(min(65535, max(1, round(25.4 * value))) for value in meta.resolution)]  # dots an inch
    target.write(b"\xff\xe0" + struct.pack(">H5sHBHHBB", 16, b"JFIF\0", 0x0101, *density, 0, 0))
    exif, xmp = (mark + data if data else b"" for mark, data in ((EXIF_MARK, meta.block), (XMP_MARK, meta.xmp)))
    for name, data in ((b"\xff\xe1", exif), (b"\xff\xe1", xmp), (b"\xff\xed", _app13(meta))):
        if 0 < len(data) <= SEGMENT:
            target.write(name + struct.pack(">H", len(data) + 2) + data)
    shutil.copyfileobj(source, target)


def _png(meta: Metadata, source: BinaryIO, target: BinaryIO) -> None:
    """Behind the first chunk, IHDR. pyvips writes a resolution even if there is none."""
    target.write(source.read(len(PNG) + 25))
    exif = _with_iptc(meta)
    made: list[tuple[bytes, bytes]] = [*meta.colours]
    made += [(b"eXIf", exif)] if exif else []
    made += [(b"iTXt", XMP_TEXT + bytes(4) + meta.xmp)] if meta.xmp else []
    for name, data in [*made, *meta.texts]:
        target.write(_chunk(name, data))
    while head := source.read(8):
        size, name = struct.unpack(">I4s", head)
        if name == b"IDAT":
            target.write(head)
            break
        rest = source.read(size + 4)
        if not (name == b"pHYs" and not meta.resolution):
            target.write(head + rest)
    shutil.copyfileobj(source, target)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _webp(meta: Metadata, file: BinaryIO) -> None:
    """At the end, with the extended header that says so."""
    exif, parts = _with_iptc(meta), _riff(file.read())
    if not exif and not meta.xmp:
        return
    flags = (EXIF if exif else 0) | (XMP if meta.xmp else 0)
    if parts[0][0] == b"VP8X":
        flags |= parts[0][1][0]
        parts[0] = b"VP8X", bytes([flags]) + parts[0][1][1:]
    else:
        width, height, alpha = _size(*parts[0])
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        parts.insert(0, (b"VP8X", bytes([flags | (ALPHA if alpha else 0), 0, 0, 0]) + sides))
    parts += [(name, data) for name, data in ((b"EXIF", exif), (b"XMP ", meta.xmp)) if data]
    body = b"".join(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in parts)
    file.seek(0)
    file.write(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body)


def _riff(content: bytes) -> list[tuple[bytes, bytes]]:
    parts, at = [], 12
    while at + 8 <= len(content):
        size = struct.unpack_from("<I", content, at + 4)[0]
        parts.append((content[at : at + 4], content[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return parts


def _size(name: bytes, data: bytes) -> tuple[int, int, bool]:
    """Width, height and whether there is alpha, of a WebP without the extended header (RFC 9649, section 2)."""
    if name == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    width, height = struct.unpack_from("<HH", data, 6)
    return width & 0x3FFF, height & 0x3FFF, False


def _tiff(meta: Metadata, file: BinaryIO) -> None:
    """Into the first directory, which is written anew at the end of the file."""
    own = ifd.read(file, without={ifd.ORIENTATION} if meta.resolution else {ifd.ORIENTATION, *RESOLUTION})
    added = dict(meta.tags)
    if meta.exif:
        try:
            added = {n: tag for n, tag in ifd.read(meta.exif, without=PIXELS).items() if n not in RESOLUTION}
        except DamagedError:  # said by `lost`
            added = {}
    added |= {ifd.XMP: Tag(ifd.BYTES, meta.xmp)} if meta.xmp else {}
    added |= {ifd.IPTC: Tag(ifd.UNDEFINED, meta.iptc)} if meta.iptc else {}
    at = file.seek(0, 2)
    file.write(bytes(at % 2))
    at += at % 2
    file.write(ifd.laid(own | _strict(added), at))
    file.seek(4)
    file.write(struct.pack("<I", at))


def _strict(tags: Directory) -> Directory:
    """Texts that end in a zero byte, and one orientation from 1 to 8: readers of TIFF refuse others."""
    made = {}
    for number, tag in tags.items():
        if number == ifd.ORIENTATION:
            if 1 <= tag.number <= 8:
                made[number] = Tag(ifd.SHORT, struct.pack("<H", tag.number))
        elif tag.kind == ifd.TEXT or (number in TEXTS_OF_TIFF and tag.kind in (ifd.BYTES, ifd.UNDEFINED)):
            made[number] = Tag(ifd.TEXT, tag.data if tag.data.endswith(b"\0") else tag.data + b"\0")
        else:
            made[number] = tag
    return made
