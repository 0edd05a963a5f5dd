"""Which files are pictures: by their endings, and by their first bytes where there is no ending."""

from __future__ import annotations

from pathlib import Path

READ = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
}
"""Formats by Pillow's names, with the endings of their files."""
EXTENSIONS = tuple(ending for endings in READ.values() for ending in endings)
RAW = (
    *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".raf", ".orf", ".rw2", ".pef", ".srw"),
    *(".raw", ".rwl", ".iiq", ".3fr", ".erf", ".kdc", ".dcr", ".mef", ".mos", ".mrw", ".x3f"),
)
"""Endings of cameras' raw files."""
UNREAD = (
    ".jxl",
    ".jp2",
    ".j2k",
    ".jpx",
    ".psd",
    ".psb",
    ".xcf",
    ".svg",
    ".ppm",
    ".pgm",
    ".tga",
    ".exr",
    ".hdr",
    ".ico",
)
"""Endings of pictures that are not read."""
STARTS = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"BM": "BMP", b"GIF87a": "GIF", b"GIF89a": "GIF",
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF",
}  # fmt: skip
HEIC, AVIF, EITHER = (b"heic", b"heix", b"heim", b"heis"), (b"avif", b"avis"), (b"mif1", b"msf1")
HEAD = 64  # bytes that show a format
RAW_HERE = "a camera's raw file: develop it with `sfumato denoise` first"
UNREAD_HERE = "a format that is not read: save it as JPEG, PNG or TIFF"


def kind_of(head: bytes) -> str:
    """The format by a file's first HEAD bytes, "" if it is none that is read."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in AVIF or (brand in EITHER and any(each in head[16:] for each in AVIF)):
            return "AVIF"
        return "HEIF" if brand in HEIC + EITHER else ""
    return next((kind for start, kind in STARTS.items() if head.startswith(start)), "")


def kind_of_file(path: Path) -> str:
    """The format of a file by its first bytes, "" if it is none that is read, no regular file or not readable."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return kind_of(file.read(HEAD))
    except OSError:
        return ""


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its ending or, without one, by its first bytes."""
    return path.suffix.lower() in EXTENSIONS if path.suffix else kind_of_file(path) != ""


def why_not(path: Path) -> str:
    """Why a file that is no picture by `is_picture` is not read, "" if it has nothing to do with pictures."""
    ending = path.suffix.lower()
    return RAW_HERE if ending in RAW else UNREAD_HERE if ending in UNREAD else ""
