"""Directories of tags (IFD), as TIFF files and EXIF blocks have them: read, changed and written.

TIFF 6.0 (Adobe 1992), section 2; Exif 2.32 (CIPA 2019), section 4.6. Files are untrusted: every offset is checked.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import BinaryIO, TypeAlias

HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of TIFF and BigTIFF
EXIF, GPS, INTEROP = 0x8769, 0x8825, 0xA005  # tags that hold another directory
ORIENTATION, IPTC, XMP = 0x0112, 0x83BB, 0x02BC
BYTES, TEXT, SHORT, LONG, UNDEFINED = 1, 2, 3, 4, 7  # types of values
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
WORDS = {3: 2, 8: 2, 4: 4, 5: 4, 9: 4, 10: 4, 11: 4, 13: 4, 12: 8, 16: 8, 17: 8, 18: 8}  # bytes that are swapped as one
RAW = (IPTC, XMP)  # bytes whatever their type says
MOST, LARGEST, DEEPEST = 4096, 2**26, 3  # tags of a directory, bytes of all values, directories inside directories


class DamagedError(ValueError):
    """A directory that cannot be read; the message is one line."""


@dataclass(frozen=True)
class Tag:
    """A value: its type, its bytes in little-endian order, and for EXIF, GPS and INTEROP the directory it holds."""

    kind: int
    data: bytes = b""
    inside: Directory = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The first of whole numbers, 0 if there is none."""
        size = SIZES.get(self.kind, 1)
        return int.from_bytes(self.data[:size], "little") if self.kind in (1, 3, 4, 13, 16) else 0


Directory: TypeAlias = dict[int, Tag]


def read(source: bytes | BinaryIO, page: int = 0, without: Collection[int] = ()) -> Directory:
    """A directory of a TIFF file or an EXIF block; page: which of several; without: tags to leave out.

    Values that lie outside of the file, go beyond LARGEST together or are of 64 bits are left out. Raises DamagedError.
    """
    reader = _Reader(io.BytesIO(source) if isinstance(source, bytes) else source)
    at, passed = reader.first(), set()
    for _ in range(page):
        passed.add(at)
        at = reader.next_after(at)
        if not at or at in passed:
            raise DamagedError("it has no such page")
    return reader.directory(at, frozenset(without))


def block(directory: Directory) -> bytes:
    """A directory as a TIFF file without pixels, which is what EXIF is."""
    return b"II*\0" + struct.pack("<I", 8) + laid(directory, 8)


def laid(directory: Directory, at: int) -> bytes:
    """The bytes of a directory that stands at the offset `at`, with its values and directories behind it."""
    count = len(directory)
    after = at + 2 + 12 * count + 4
    rows, values = [], b""
    for number, tag in sorted(directory.items()):
        kind, data = tag.kind, tag.data
        if number in (EXIF, GPS, INTEROP):
            values += bytes(len(values) % 2)
            kind, data = LONG, struct.pack("<I", after + len(values))
            values += laid(tag.inside, after + len(values))
        size = SIZES[kind]
        if len(data) > 4:
            values += bytes(len(values) % 2)
            place = struct.pack("<I", after + len(values))
            values += data
        else:
            place = data.ljust(4, b"\0")
        rows.append(struct.pack("<HHI", number, kind, len(data) // size) + place)
    return struct.pack("<H", count) + b"".join(rows) + bytes(4) + values


def changed(exif: bytes, number: int, tag: Tag | None) -> bytes:
    """An EXIF block with a tag of its first directory replaced, or without it.

    The directory is written anew at the end and all else stays where it is, because makers' notes count from the
    beginning of the block. Raises DamagedError.
    """
    reader = _Reader(io.BytesIO(exif))
    if reader.big:
        raise DamagedError("it is a BigTIFF")
    order, first = reader.order, reader.first()
    rows = {struct.unpack_from(order + "H", row)[0]: row for row in reader.rows(first)}
    following = exif[first + 2 + 12 * len(rows) :][:4]
    rows.pop(number, None)
    exif += bytes(len(exif) % 2)
    values = b""
    if tag is not None:
        data, size = _swapped(tag.data, 0 if number in RAW or order == "<" else WORDS.get(tag.kind, 0)), SIZES[tag.kind]
        place = data.ljust(4, b"\0")
        if len(data) > 4:
            place, values = struct.pack(order + "I", len(exif) + 2 + 12 * (len(rows) + 1) + 4), data
        rows[number] = struct.pack(order + "HHI", number, tag.kind, len(data) // size) + place
    body = b"".join(row for _, row in sorted(rows.items()))
    head = exif[:4] + struct.pack(order + "I", len(exif))
    return head + exif[8:] + struct.pack(order + "H", len(rows)) + body + following.ljust(4, b"\0") + values


class _Reader:
    """Reads TIFF and BigTIFF, of either byte order."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.length = file.seek(0, io.SEEK_END)
        self.left = LARGEST  # values may overlap, so that a small file could claim any amount
        head = self.at(0, 4)
        if head not in HEADS:
            raise DamagedError("it does not begin as a TIFF does")
        self.order, self.big = "<" if head[:1] == b"I" else ">", b"+" in head
        self.row, self.word = (20, "Q") if self.big else (12, "I")

    def at(self, place: int, size: int) -> bytes:
        if place < 0 or place + size > self.length:
            raise DamagedError("a part of it lies outside of the file")
        self.file.seek(place)
        return self.file.read(size)

    def first(self) -> int:
        return self._number(8 if self.big else 4, self.word)

    def _number(self, place: int, kind: str) -> int:
        value = struct.unpack(self.order + kind, self.at(place, struct.calcsize(kind)))[0]
        assert isinstance(value, int)
        return value

    def _body(self, place: int) -> tuple[int, int]:
        """Where the rows of a directory begin, and how many there are."""
        kind = "Q" if self.big else "H"
        count = self._number(place, kind)
        if count > MOST:
            raise DamagedError(f"it claims {count} tags")
        return place + struct.calcsize(kind), count

    def next_after(self, place: int) -> int:
        begin, count = self._body(place)
        return self._number(begin + count * self.row, self.word)

    def rows(self, place: int) -> list[bytes]:
        begin, count = self._body(place)
        body = self.at(begin, count * self.row)
        return [body[k : k + self.row] for k in range(0, len(body), self.row)]

    def directory(self, place: int, without: frozenset[int] = frozenset(), depth: int = 0) -> Directory:
        found: Directory = {}
        for row in self.rows(place):
            number, kind = struct.unpack_from(self.order + "HH", row)
            count = struct.unpack_from(self.order + self.word, row, 4)[0]
            size = count * SIZES.get(kind, 0)
            if number in without or not 0 < size <= LARGEST:
                continue
            inline = row[8 + 4 * self.big :]
            pointer = struct.unpack(self.order + self.word, inline)[0]
            try:
                if number in (EXIF, GPS, INTEROP):
                    if size > len(inline) or depth >= DEEPEST:
                        continue
                    inner = struct.unpack(self.order + "I", inline[:4])[0] if size == 4 else pointer
                    found[number] = Tag(LONG, inside=self.directory(inner, frozenset(), depth + 1))
                    continue
                if kind > 13 or size > self.left:  # over 13: of BigTIFF alone
                    continue
                self.left -= size
                data = inline[:size] if size <= len(inline) else self.at(pointer, size)
            except DamagedError:
                continue
            swap = 0 if number in RAW or self.order == "<" else WORDS.get(kind, 0)
            found[number] = Tag(kind, _swapped(data, swap))
        return found


def _swapped(data: bytes, size: int) -> bytes:
    """Every `size` bytes in reverse order; as they are for 0."""
    return b"".join(data[k : k + size][::-1] for k in range(0, len(data), size)) if size else data
