"""Photo files: what comes out is as it went in, and what cannot be read is one line."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from sfumato.denoising.photo import read, write
from sfumato.errors import UserError

RNG = np.random.default_rng(0)
SIDE = (24, 37)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BANDS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}
KINDS = [
    (mode, bits, suffix)
    for suffix, modes in {
        ".png": ("L", "LA", "RGB", "RGBA"), ".tif": ("L", "LA", "RGB", "RGBA", "CMYK"), ".tiff": ("L", "RGB", "RGBA"),
        ".jpg": ("L", "RGB", "CMYK"), ".jpeg": ("L", "RGB"), ".webp": ("RGB", "RGBA"),
    }.items()
    for mode in modes
    for bits in ((8, 16) if suffix in (".png", ".tif", ".tiff") else (8,))
]  # fmt: skip


def make(path: Path, mode: str, bits: int, orientation: int = 6) -> Path:
    """A smooth picture with a profile and an orientation."""
    bands = BANDS[mode]
    ramp = np.linspace(0.1, 0.9, SIDE[0] * SIDE[1] * bands).reshape(*SIDE, bands)
    array = np.rint(ramp * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    kind = {"L": "b-w", "LA": "b-w", "RGB": "srgb", "RGBA": "srgb", "CMYK": "cmyk"}[mode]
    kind = {"b-w": "grey16", "srgb": "rgb16", "cmyk": "cmyk"}[kind] if bits == 16 else kind
    image = pyvips.Image.new_from_array(array, interpretation=kind).copy(xres=11.8, yres=11.8)
    if mode in ("RGB", "RGBA"):
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", PROFILE)
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    lossless = {"lossless": True} if path.suffix == ".webp" else {"Q": 100} if "j" in path.suffix else {}
    image.write_to_file(str(path), keep="all", **lossless)
    return path


@pytest.mark.parametrize(("mode", "bits", "suffix"), KINDS)
def test_what_comes_out_is_as_it_went_in(tmp_path: Path, mode: str, bits: int, suffix: str) -> None:
    source = make(tmp_path / f"in{suffix}", mode, bits)
    photo = read(source)
    assert photo.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert photo.pixels.shape == (*SIDE, BANDS[mode] - ("A" in mode))
    out = write(photo, photo.pixels, tmp_path / f"out{suffix}")
    before, after = (pyvips.Image.new_from_file(str(p)) for p in (source, out))
    for what in ("width", "height", "bands", "format", "interpretation", "xres", "yres"):
        assert getattr(before, what) == pytest.approx(getattr(after, what), abs=0.1), what
    for field in ("icc-profile-data", "orientation", "exif-data"):
        assert before.get_typeof(field) == after.get_typeof(field), field
    if before.get_typeof("icc-profile-data"):
        assert before.get("icc-profile-data") == after.get("icc-profile-data")
    assert after.get("orientation") == 6
    far = np.abs(before.numpy().astype(int) - after.numpy().astype(int)).max()
    assert far <= (0 if suffix in (".png", ".tif", ".tiff") else 12)
    if (mode, bits, suffix) == ("LA", 16, ".tif"):
        return  # Pillow does not know it
    with Image.open(source) as a, Image.open(out) as b:
        assert (a.mode, a.size, a.format) == (b.mode, b.size, b.format)


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".webp"])
def test_a_file_that_was_cut_short(tmp_path: Path, suffix: str) -> None:
    path = make(tmp_path / f"photo{suffix}", "RGB", 8)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(UserError, match=r"damaged|truncated|cut short") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"), (b"no picture at all", "not a JPEG, PNG"), (b"%PDF-1.7", "looks like"),
        ("truncated", "damaged"), ("animated", "has 3 frames: choose one with --page"), ("huge", "megapixels"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | str, reason: str) -> None:
    path = tmp_path / "photo.png"
    if content == "truncated":
        make(path, "RGB", 8)
        path.write_bytes(path.read_bytes()[:-60])
    elif content == "animated":
        frames = [Image.fromarray(RNG.integers(0, 255, (8, 8, 3), dtype=np.uint8)) for _ in range(3)]
        path = tmp_path / "photo.webp"
        frames[0].save(path, save_all=True, append_images=frames[1:])
    elif content == "huge":
        buffer = io.BytesIO()
        Image.new("L", (10, 10)).save(buffer, "PNG")
        raw = bytearray(buffer.getvalue())
        raw[16:24] = (100_000).to_bytes(4, "big") * 2
        raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
        path.write_bytes(raw)
    else:
        path.write_bytes(content)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "red").save(tmp_path / "one.png")
    assert read(tmp_path / "one.png").pixels.tolist() == [[[255, 0, 0]]]


@pytest.mark.parametrize(
    ("mode", "bits", "name", "reason"),
    [
        ("RGB", 16, "a.jpg", "holds 8 bits"),
        ("RGBA", 8, "a.jpg", "no transparency"),
        ("RGB", 8, "a.bmp", "unknown picture"),
    ],
)
def test_what_a_format_cannot_hold(tmp_path: Path, mode: str, bits: int, name: str, reason: str) -> None:
    photo = read(make(tmp_path / "in.png", mode, bits))
    with pytest.raises(UserError, match=reason):
        write(photo, photo.pixels, tmp_path / name)
    assert not (tmp_path / name).exists()
