"""Pictures good and broken, for the tests."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(
    width: int, height: int, bits: int, colour: int, raw: bytes, extra: bytes = b"", crc: int | None = None
) -> bytes:
    """A PNG from its unfiltered rows (each with its leading 0), with chunks put before the pixels."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(raw), crc)
    return SIGNATURE + chunk(b"IHDR", head) + extra + body + chunk(b"IEND", b"")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth picture with some texture, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(6 * (x * a + y * b) + c) for a, b, c in rng.uniform(-1, 1, (3, 3))]
    smooth = np.stack(waves, 2) * 90 + 128
    return (smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)


def hostile() -> dict[str, bytes]:
    """Broken and malicious files by name; none of them may become a picture."""
    good = Image.fromarray(photo())
    formats = {
        "jpg": encoded(good, "JPEG"),
        "png": encoded(good, "PNG"),
        "webp": encoded(good, "WEBP"),
        "bmp": encoded(good, "BMP"),
        "tif": encoded(good, "TIFF"),
        "lzw.tif": encoded(good, "TIFF", compression="tiff_lzw"),
    }
    files = {
        f"cut-{share}.{kind}": content[: int(len(content) * share / 100)]
        for kind, content in formats.items()
        for share in (1, 10, 50, 90)
    }
    rows = (b"\0" + b"\x7f" * 8) * 8
    bomb = zlib.compress(bytes(64 * 2**20))
    profile = b"icc\0\0" + bomb
    text = b"Comment\0\0" + bomb
    flipped = bytearray(formats["png"])
    flipped[len(flipped) // 2] ^= 0x10
    claims = png(30000, 30000, 8, 2, b"\0")
    return files | {
        "empty.png": b"",
        "empty.jpg": b"",
        "one-byte.jpg": b"\xff",
        "zeros.png": bytes(4096),
        "random.jpg": np.random.default_rng(1).bytes(4096),
        "random.webp": b"RIFF\x00\x10\x00\x00WEBPVP8 " + np.random.default_rng(2).bytes(4096),
        "random.tif": b"II*\0" + np.random.default_rng(3).bytes(4096),
        "random.bmp": b"BM" + np.random.default_rng(4).bytes(4096),
        "random.png": SIGNATURE + np.random.default_rng(5).bytes(4096),
        "random-after-soi.jpg": b"\xff\xd8\xff" + np.random.default_rng(6).bytes(4096),
        "text.jpg": b"this is not a picture\n" * 20,
        "page.png": b"<!doctype html><html><body>404</body></html>",
        "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
        "paper.png": b"%PDF-1.7\n" + bytes(100),
        "archive.png": b"PK\x03\x04" + bytes(100),
        "script.bmp": b"#!/bin/sh\necho hello\n",
        "claims-900-megapixels.png": claims,
        "claims-10-gigapixels.png": png(100000, 100000, 8, 2, b"\0"),
        "claims-4-billion-wide.png": png(2**31 - 1, 2**31 - 1, 8, 2, b"\0"),
        "no-pixels.png": png(0, 8, 8, 0, rows),
        "claims-900-megapixels.bmp": b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0),
        "claims-900-megapixels.tif": _tiff_claim(30000, 30000),
        "claims-900-megapixels.jpg": _jpeg_claim(formats["jpg"], 30000, 30000),
        "wrong-crc-of-pixels.png": png(8, 8, 8, 0, rows, crc=1),
        "wrong-crc-of-header.png": formats["png"][:29] + b"\0\0\0\0" + formats["png"][33:],
        "flipped-bit.png": bytes(flipped),
        "no-pixels-chunk.png": SIGNATURE
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
        + chunk(b"IEND", b""),
        "bad-bit-depth.png": png(8, 8, 3, 2, rows),
        "text-bomb.png": png(8, 8, 8, 0, rows, chunk(b"zTXt", text)),
        "profile-bomb.png": png(8, 8, 8, 0, rows, chunk(b"iCCP", profile)),
        "chunk-longer-than-file.png": SIGNATURE + struct.pack(">I", 2**31 - 1) + b"eXIf" + bytes(64),
        "not-finite.tif": encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"),
        "below-zero.tif": encoded(Image.fromarray(np.full((9, 9), -3, np.int32)), "TIFF"),
    }


def _tiff_claim(width: int, height: int) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 200), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 16)]
    fields = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + fields + bytes(200)


def _jpeg_claim(content: bytes, width: int, height: int) -> bytes:
    start = content.index(b"\xff\xc0") + 5
    return content[:start] + struct.pack(">HH", height, width) + content[start + 4 :]


def write_hostile(folder: Path) -> list[str]:
    """The broken files, and the things that are no regular files; gives all names."""
    folder.mkdir(parents=True, exist_ok=True)
    files = hostile()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "nowhere.jpg").symlink_to("not-there.jpg")
    (folder / "out.jpg").symlink_to("/etc/hostname")
    (folder / "endless.png").symlink_to("/dev/zero")
    (folder / "around").symlink_to(".")
    os.mkfifo(folder / "pipe.png")
    return [*files, "loop.png", "nowhere.jpg", "out.jpg", "endless.png", "around", "pipe.png"]


def save_photos(folder: Path, count: int, height: int = 32, width: int = 32, kind: str = "png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.fromarray(photo(height, width, index)).save(folder / f"{index:03d}.{kind}")
