"""What a photo's file holds beside its pixels is kept in every direction, and nothing is added."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from sfumato.denoising import ifd
from sfumato.denoising.embed import lost
from sfumato.denoising.files import Order, clean
from sfumato.denoising.metadata import Metadata, records
from sfumato.denoising.photo import read, write

from .test_clean import plain

PIXELS = np.random.default_rng(0).integers(60, 200, (24, 37, 3), dtype=np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>caf\xc3\xa9</a></x:xmpmeta>'
KEYWORDS = b"\x1c\x02\x19\x00\x03cat\x1c\x02\x19\x00\x03dog"
MAIN = {0x010E: "a cat", 0x010F: "Maker", 0x0110: "Model 7", 0x0112: 6, 0x013B: "An Artist", 0x8298: "(c) me"}
PHOTO = {0x829A: IFDRational(1, 60), 0x8827: 400, 0x9003: "2024:01:02 03:04:05", 0x927C: b"maker's note, 23 bytes."}
PLACE = {1: "N", 2: (48.0, 6.0, 30.0), 3: "E", 4: (11.0, 34.0, 0.0)}
SUFFIXES = (".jpg", ".png", ".webp", ".tif")


def exif() -> Image.Exif:
    made = Image.Exif()
    made.update(MAIN)
    made.get_ifd(0x8769).update(PHOTO)
    made.get_ifd(0x8825).update(PLACE)
    return made


def resource() -> bytes:
    return b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(KEYWORDS)) + KEYWORDS


def make(path: Path) -> Path:
    """A photo with all kinds of metadata that its format can hold, by Pillow."""
    image, common = Image.fromarray(PIXELS), {"icc_profile": PROFILE, "xmp": XMP}
    if path.suffix == ".jpg":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", exif=exif(), dpi=(300, 300), **common)
        whole, content = buffer.getvalue(), resource()
        path.write_bytes(whole[:20] + b"\xff\xed" + struct.pack(">H", len(content) + 2) + content + whole[20:])
    elif path.suffix == ".png":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
        chunks.add_text("Author", "somebody")
        image.save(path, exif=exif(), icc_profile=PROFILE, pnginfo=chunks, dpi=(300, 300))
    elif path.suffix == ".webp":
        image.save(path, exif=exif(), lossless=True, **common)
    else:
        tags: Any = ImageFileDirectory_v2()
        tags.update(MAIN)
        tags[0x8769], tags[0x8825], tags[ifd.XMP] = dict(PHOTO), dict(PLACE), XMP
        tags[ifd.IPTC] = KEYWORDS
        tags.tagtype[ifd.IPTC] = 7
        image.save(path, tiffinfo=tags, icc_profile=PROFILE, dpi=(300, 300))
    return path


def contents(path: Path) -> dict[str, Any]:
    """All metadata of a file, by Pillow alone."""
    with Image.open(path) as image:
        found = image.getexif()
        tags = getattr(image, "tag_v2", {})
        iptc = found.get(ifd.IPTC) or tags.get(ifd.IPTC)
        if path.suffix == ".jpg" and "photoshop" in image.info:
            iptc = image.info["photoshop"].get(0x0404)
        xmp = tags.get(ifd.XMP) or image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
        return {
            "main": {tag: value for tag, value in found.items() if tag in MAIN},
            "photo": dict(found.get_ifd(0x8769)),
            "place": dict(found.get_ifd(0x8825)),
            "icc": image.info.get("icc_profile"),
            "xmp": xmp.encode() if isinstance(xmp, str) else xmp,
            "iptc": iptc,
            "texts": {k: v for k, v in getattr(image, "text", {}).items() if not k.startswith("XML")},
        }


@pytest.mark.parametrize("there", SUFFIXES)
@pytest.mark.parametrize("here", SUFFIXES)
def test_metadata_is_the_same_in_every_direction(tmp_path: Path, here: str, there: str) -> None:
    source = make(tmp_path / f"in{here}")
    before = contents(source)
    assert (before["main"], before["place"]) == (MAIN, PLACE)
    assert before["photo"] == PHOTO
    photo = read(source)
    after = contents(write(photo, photo.pixels, tmp_path / f"out{there}"))
    assert after["texts"] == ({"Author": "somebody"} if here == there == ".png" else {})
    del before["texts"], after["texts"]
    assert after == before
    assert bool(after["iptc"]) == (here in (".jpg", ".tif"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_is_invented(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PIXELS).save(tmp_path / f"in{suffix}")
    bare = contents(tmp_path / f"in{suffix}")
    for there in SUFFIXES:
        photo = read(tmp_path / f"in{suffix}")
        out = write(photo, photo.pixels, tmp_path / f"out{there}")
        assert contents(out) == bare
        with Image.open(out) as image:
            assert not image.info.keys() & {"exif", "gamma", "srgb", "icc_profile"}
            assert image.info.get("dpi") in (None, (1, 1))
            assert not {282, 283, 296, 270, 305, 306} & getattr(image, "tag_v2", {}).keys()
        assert lost(photo.meta, there[1:]) == []


def test_the_same_file_is_the_place_too(tmp_path: Path) -> None:
    cleaner = plain().cleaner()
    for suffix in SUFFIXES:
        path = make(tmp_path / f"photo{suffix}")
        before = contents(path)
        for _ in range(2):  # the second time it is not what was remembered from the first
            old = read(path).pixels
            clean(cleaner, path, path, Order(sigma=0.08, overwrite=True))
            assert contents(path) == before
            assert (read(path).pixels != old).any()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_the_resolution(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PIXELS).save(tmp_path / f"in{suffix}", dpi=(300, 150))
    photo = read(tmp_path / f"in{suffix}")
    for there in (".jpg", ".png", ".tif"):
        with Image.open(write(photo, photo.pixels, tmp_path / f"out{there}")) as image:
            assert image.info["dpi"] == pytest.approx((300, 150), abs=0.1)


def test_the_orientation_is_there_once(tmp_path: Path) -> None:
    for here in SUFFIXES:
        photo = read(make(tmp_path / f"in{here}"))
        assert photo.orientation == 6
        for there in SUFFIXES:
            out = write(photo, photo.pixels, tmp_path / f"out{there}")
            block = {".jpg": b"Exif\0\0", ".png": b"eXIf", ".webp": b"EXIF"}.get(there)
            assert block is None or out.read_bytes().count(block) == 1
            with Image.open(out) as image:
                assert image.getexif()[0x0112] == 6
                assert image.size == (37, 24)[:: -1 if there == ".tif" else 1]  # Pillow swaps a TIFF's itself


def png(colours: dict[bytes, bytes]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG")
    made = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in colours.items()]
    return buffer.getvalue()[:33] + b"".join(made) + buffer.getvalue()[33:]


def test_the_gamma_of_a_png(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(png({b"gAMA": struct.pack(">I", 100_000), b"cHRM": bytes(range(32))}))
    photo = read(tmp_path / "in.png")
    assert png({})[:33] in write(photo, photo.pixels, tmp_path / "out.png").read_bytes()
    with Image.open(tmp_path / "out.png") as image:
        assert image.info["gamma"] == 1.0
    assert b"cHRM" + bytes(range(32)) in (tmp_path / "out.png").read_bytes()
    cleaned = clean(plain().cleaner(), tmp_path / "in.png", tmp_path / "out.jpg", Order(sigma=0.1))
    assert any("gAMA 1" in note and "write .png" in note for note in cleaned.notes)
    (tmp_path / "in.png").write_bytes(png({b"gAMA": struct.pack(">I", 45455)}))
    assert lost(read(tmp_path / "in.png").meta, "jpg") == []


def test_what_a_jpeg_is_too_small_for_is_named() -> None:
    meta = Metadata(xmp=b"x" * 70_000, exif=ifd.block({0x9286: ifd.Tag(7, bytes(70_000))}))
    assert [line.split(" of ")[0] for line in lost(meta, "jpg")] == ["EXIF", "XMP"]
    assert lost(meta, "png") == lost(meta, "tif") == []


@pytest.mark.parametrize("order", ["<", ">"])
def test_makers_notes_stay_where_they_were(order: str) -> None:
    """Notes of cameras count from the beginning of the EXIF block, so that IPTC is added behind them."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    inner = struct.pack(order + "HHHII", 1, 0x927C, 7, 9, 44) + bytes(4)
    block = mark + struct.pack(order + "IHHHII", 8, 1, 0x8769, 4, 1, 26) + bytes(4) + inner + b"the note."
    made = ifd.changed(block, ifd.IPTC, ifd.Tag(7, KEYWORDS))
    assert made[8 : len(block)] == block[8:]
    found = ifd.read(made)
    assert found[ifd.IPTC].data == KEYWORDS
    assert found[ifd.EXIF].inside[0x927C].data == b"the note."
    assert ifd.read(ifd.changed(made, ifd.IPTC, None)) == ifd.read(block)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_named_and_spoils_nothing(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "in.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    photo = read(tmp_path / "in.jpg")
    assert "damaged" in lost(photo.meta, "tif")[0]
    for suffix in SUFFIXES:
        out = write(photo, photo.pixels, tmp_path / f"out{suffix}")
        assert read(out).pixels.shape == PIXELS.shape


@pytest.mark.parametrize("content", [b"8BIM", b"8BIM\x04\x04\0\0\xff\xff\xff\xff", b"Photoshop 3.0\0", b"8BIM" * 9])
def test_damaged_resources_hold_nothing(content: bytes) -> None:
    assert records(content) == b""


def test_a_directory_that_never_ends_is_refused() -> None:
    loop = b"II*\0" + struct.pack("<IHI", 8, 0, 8)
    with pytest.raises(ifd.DamagedError, match="no such page"):
        ifd.read(loop, page=2)
    with pytest.raises(ifd.DamagedError, match="claims 65535 tags"):
        ifd.read(b"II*\0" + struct.pack("<IH", 8, 65535))
    inside = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x8769, 4, 1, 8) + bytes(4)  # it holds itself
    assert ifd.read(inside)[ifd.EXIF].inside


def test_values_that_overlap_do_not_fill_the_memory() -> None:
    rows = b"".join(struct.pack("<HHII", 40_000 + k, 7, 2**22, 8) for k in range(200))
    file = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 200) + rows + bytes(2**22)
    assert sum(len(tag.data) for tag in ifd.read(file).values()) <= ifd.LARGEST


@pytest.mark.parametrize(
    ("number", "tag", "expected"),
    [
        (0x010F, ifd.Tag(2, b"no zero at the end"), b"no zero at the end\0"),
        (0x010F, ifd.Tag(7, b"bytes"), b"bytes\0"),
        (0x0112, ifd.Tag(3, b"\6\0\6\0"), b"\6\0"),
        (0x0112, ifd.Tag(4, b"\6\0\0\0"), b"\6\0"),
        (0x0112, ifd.Tag(3, b"\x09\0"), None),
    ],
)
def test_loose_tags_of_cameras_become_a_tiff_that_is_read(
    tmp_path: Path, number: int, tag: ifd.Tag, expected: bytes | None
) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "in.jpg", exif=b"Exif\0\0" + ifd.block({number: tag}))
    photo = read(tmp_path / "in.jpg")
    found = read(write(photo, photo.pixels, tmp_path / "out.tif")).meta.tags.get(number)
    assert (found and found.data) == expected
