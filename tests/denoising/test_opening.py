"""Photos in unusual files: few bits in many, other formats, pages, names without endings, raw files."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from sfumato.denoising import ifd
from sfumato.denoising.cleaner import Cleaner
from sfumato.denoising.files import clean
from sfumato.denoising.photo import read, write
from sfumato.denoising.places import Order, plan, unused
from sfumato.errors import UserError
from sfumato.pictures.decode import PictureError, decode

from .test_clean import plain

ORDER = Order(sigma=0.1)
RNG = np.random.default_rng(0)
SMOOTH = np.linspace(40, 210, 24 * 32 * 3).reshape(24, 32, 3).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> Cleaner:
    return plain().cleaner()


def deep(path: Path, bits: int, tags: dict[int, int] | None = None, most: int | None = None) -> np.ndarray:
    """A noisy colour picture of so many bits, not scaled to 16; tags: of a TIFF."""
    top = 2**bits - 1
    pixels = RNG.integers(top // 5, (most or top) + 1, (30, 40, 3), dtype=np.uint16)
    pixels[0, 0] = most or top
    image = pyvips.Image.new_from_array(pixels, interpretation="rgb16")
    image.write_to_file(str(path))
    if tags:
        with path.open("r+b") as file:
            own = ifd.read(file)
            at = file.seek(0, 2)
            new = {number: ifd.Tag(ifd.SHORT, np.full(3, value, "<u2").tobytes()) for number, value in tags.items()}
            file.write(ifd.laid(own | new, at))
            file.seek(4)
            file.write(at.to_bytes(4, "little"))
    return pixels


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_12_bits_in_16_are_cleaned_at_their_own_scale(model: Cleaner, tmp_path: Path, suffix: str) -> None:
    few = deep(tmp_path / f"few{suffix}", 12)
    full = np.rint(few.astype(np.float64) * 65535 / 4095).astype(np.uint16)
    pyvips.Image.new_from_array(full, interpretation="rgb16").write_to_file(str(tmp_path / f"full{suffix}"))
    outs = []
    for name in ("few", "full"):
        done = clean(model, tmp_path / f"{name}{suffix}", tmp_path / f"{name}-out{suffix}", ORDER)
        outs.append(pyvips.Image.new_from_file(str(done.written[0])).numpy().astype(float))
        assert ("12 bits in 16, because no sample is over 4,095" in " ".join(done.notes)) == (name == "few")
        assert ("12 bit" in done.words) == (name == "few")
    assert np.abs(outs[0] - outs[1] * 4095 / 65535).max() <= 1
    assert np.abs(outs[0] - few).mean() > 10
    photo = read(tmp_path / f"few{suffix}")
    same = pyvips.Image.new_from_file(str(write(photo, photo.pixels, tmp_path / f"same{suffix}"))).numpy()
    assert (same == few).all()


@pytest.mark.parametrize("tag", [281, 341])
def test_the_largest_sample_is_the_files_own(tmp_path: Path, tag: int) -> None:
    pixels = deep(tmp_path / "a.tif", 12, {tag: 4095}, most=900)
    photo = read(tmp_path / "a.tif")
    assert photo.bits == 12
    assert photo.pixels[0, 0, 0] == round(900 * 65535 / 4095)
    assert "the file names 4,095 as its largest" in photo.notes[0]
    out = write(photo, photo.pixels, tmp_path / "b.tif")
    assert (pyvips.Image.new_from_file(str(out)).numpy() == pixels).all()
    assert read(out).bits == 12
    said: list[str] = []
    assert decode(tmp_path / "a.tif", notes=said)[0, 0, 0] == round(900 * 255 / 4095)
    assert said == list(photo.notes)


@pytest.mark.parametrize(("most", "bits"), [(200, 8), (1000, 10), (4095, 12), (4096, 16), (65535, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_rule_without_a_tag(tmp_path: Path, most: int, bits: int, channels: int) -> None:
    pixels = RNG.integers(0, most + 1, (8, 9, channels), dtype=np.uint16)
    pixels[3, 3] = most
    kind = "grey16" if channels == 1 else "rgb16"
    for suffix in (".png", ".tif"):
        path = tmp_path / f"a{suffix}"
        pyvips.Image.new_from_array(pixels, interpretation=kind).write_to_file(str(path))
        assert read(path).bits == bits
        expected = pixels.astype(float) * 255 / (2**bits - 1)
        assert np.abs(decode(path).astype(float) - expected).max() <= (1 if bits == 16 else 0.51)


@pytest.mark.parametrize("kind", ["b-w", "srgb", "multiband"])
@pytest.mark.parametrize("channels", [5, 6])
def test_odd_channels_are_one_line(tmp_path: Path, channels: int, kind: str) -> None:
    pixels = RNG.integers(0, 255, (8, 8, channels), dtype=np.uint8)
    pyvips.Image.new_from_array(pixels, interpretation=kind).write_to_file(str(tmp_path / "a.tif"))
    with pytest.raises(UserError, match=f"a.tif: has {channels} channels: save it as grey, RGB or CMYK"):
        read(tmp_path / "a.tif")


def test_cmyk_with_alpha_keeps_both(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (8, 8, 5), dtype=np.uint8)
    pyvips.Image.new_from_array(pixels, interpretation="cmyk").write_to_file(str(tmp_path / "a.tif"))
    photo = read(tmp_path / "a.tif")
    assert photo.words() == "8x8 CMYK, alpha, 8 bit"
    assert (pyvips.Image.new_from_file(str(write(photo, photo.pixels, tmp_path / "b.tif"))).numpy() == pixels).all()


def exif() -> Image.Exif:
    made = Image.Exif()
    made[0x010F], made[0x0112] = "Maker", 6
    return made


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".avif", ".heic"])
def test_formats_that_are_only_read_become_png(model: Cleaner, tmp_path: Path, suffix: str) -> None:
    image, options = Image.fromarray(SMOOTH), {}
    if suffix in (".avif", ".heic"):
        options = {"exif": exif().tobytes(), "quality": 95}
        pytest.importorskip("pillow_heif").register_heif_opener()
    (tmp_path / "in").mkdir()
    image.save(tmp_path / "in" / f"a{suffix}", **options)
    ((source, target),) = plan([tmp_path / "in"], tmp_path / "out")
    assert target == tmp_path / "out" / "a.png"
    upright = np.rot90(SMOOTH, -1) if options else SMOOTH
    assert np.abs(read(source).pixels.astype(int) - upright).mean() < 4
    assert np.abs(decode(source).astype(int) - upright).mean() < 4
    clean(model, source, target, ORDER)
    with Image.open(target) as done:
        assert done.size == upright.shape[1::-1]
        found = done.getexif()
        assert (found.get(0x010F), found.get(0x0112, 1)) == (("Maker", 1) if options else (None, 1))


def test_an_avif_of_ten_bits_keeps_them(tmp_path: Path) -> None:
    ramp = np.linspace(8000, 60000, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint16)
    image = pyvips.Image.new_from_array(ramp, interpretation="rgb16")
    image.heifsave(str(tmp_path / "a.avif"), compression="av1", bitdepth=10, lossless=True)
    photo = read(tmp_path / "a.avif")
    assert photo.pixels.dtype == np.uint16
    assert len(np.unique(photo.pixels)) > 256
    assert np.abs(photo.pixels.astype(int) - ramp).max() < 200


def test_heic_without_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for open_it in (read, decode):
        with pytest.raises((UserError, PictureError), match=r"pip install 'sfumato\[heic\]'"):
            open_it(tmp_path / "a.heic")


def test_the_first_frame_of_a_gif(model: Cleaner, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("#c83232", "#3232c8", "#32c832")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    done = clean(model, tmp_path / "a.gif", tmp_path / "b.png", ORDER)
    assert done.notes == ("has 3 frames, the first is cleaned: --page takes another",)
    assert read(tmp_path / "a.gif").pixels[5, 5].tolist() == [200, 50, 50]
    assert read(tmp_path / "a.gif", page=2).pixels[5, 5].tolist() == [50, 50, 200]
    said: list[str] = []
    assert decode(tmp_path / "a.gif", notes=said)[5, 5].tolist() == [200, 50, 50]
    assert said == ["the first of its 3 frames is used"]


def pages(path: Path) -> Path:
    tags: list[Any] = []
    for name in ("first", "second", "third"):
        tags.append(ImageFileDirectory_v2())
        tags[-1][0x010E] = name
    frames = [Image.new("RGB", (20 + k, 16), (60 * k + 60,) * 3) for k in range(3)]
    for frame, tag in zip(frames, tags, strict=True):
        frame.encoderinfo = {"tiffinfo": tag}
    frames[0].save(path, save_all=True, append_images=frames[1:], tiffinfo=tags[0])
    return path


def test_pages_of_a_tiff(model: Cleaner, tmp_path: Path) -> None:
    path = pages(tmp_path / "a.tif")
    for page, width, value in ((None, 20, 60), (1, 20, 60), (2, 21, 120), (3, 22, 180)):
        photo = read(path, page=page)
        assert (photo.pixels.shape, int(photo.pixels.mean())) == ((16, width, 3), value)
        done = clean(model, path, tmp_path / "b.tif", replace(ORDER, page=page, overwrite=True))
        assert done.notes == (() if page else ("has 3 pages, the first is cleaned: --page takes another",))
        with Image.open(tmp_path / "b.tif") as image:
            assert (image.size, image.n_frames) == ((width, 16), 1)
    assert read(path, page=2).meta.tags[0x010E].data == b"second\0"
    with pytest.raises(UserError, match="has 3 pages, and --page is 4"):
        read(path, page=4)
    before = path.read_bytes()
    for page in (None, 2):
        with pytest.raises(UserError, match="one would take the place of all"):
            clean(model, path, path, replace(ORDER, page=page, overwrite=True))
    assert path.read_bytes() == before
    Image.new("RGB", (8, 8)).save(tmp_path / "one.jpg")
    with pytest.raises(UserError, match="has 1 page, and --page is 2"):
        read(tmp_path / "one.jpg", page=2)


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("a.jfif", "JPEG", "a.jfif"), ("a.jpe", "JPEG", "a.jpe"), ("IMG_0001", "JPEG", "IMG_0001.jpg"),
        ("scan", "TIFF", "scan.tif"), ("old", "BMP", "old.png"), ("a.JFIF", "JPEG", "a.JFIF"),
    ],
)  # fmt: skip
def test_other_endings_and_none(model: Cleaner, tmp_path: Path, name: str, kind: str, target: str) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(SMOOTH).save(tmp_path / "in" / name, kind)
    for given in (tmp_path / "in", tmp_path / "in" / name):
        assert plan([given], tmp_path / "out") == [(tmp_path / "in" / name, tmp_path / "out" / target)]
    clean(model, tmp_path / "in" / name, tmp_path / "out" / target, ORDER)
    with Image.open(tmp_path / "out" / target) as image:
        assert image.format == ("PNG" if kind == "BMP" else kind)


def test_every_file_of_a_folder_is_a_photo_or_named(tmp_path: Path) -> None:
    names = ["a.png", "deep/b.jfif", "deep/none", "c.nef", "d.heic", "notes.txt", "e.psd", "words", "f.jxl", ".hidden"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"\xff\xd8\xff\xe0" if name == "deep/none" else b"some text")
    used = [str(source.relative_to(tmp_path / "in")) for source, _ in plan([tmp_path / "in"], tmp_path / "in" / "out")]
    passed = {str(path.relative_to(tmp_path / "in")): why for path, why in unused([tmp_path / "in"], tmp_path / "out")}
    assert sorted([*used, *passed, ".hidden"]) == sorted(names)
    assert sorted(passed) == ["e.psd", "f.jxl", "notes.txt", "words"]
    assert passed["notes.txt"] == passed["words"] == "not a picture"
    assert "save it as JPEG, PNG or TIFF" in passed["f.jxl"]


def raw_file(path: Path) -> Path:
    """What a raw file is to us: a TIFF with EXIF, whose pixels only LibRaw can read."""
    tags: Any = ImageFileDirectory_v2()
    tags[0x010F], tags[0x0112], tags[0x8769] = "Maker", 6, {0x8827: 800}
    Image.new("L", (4, 4)).save(path, "TIFF", tiffinfo=tags)
    return path


def test_a_raw_file_without_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    for suffix in (".dng", ".CR2", ".nef", ".arw"):
        with pytest.raises(UserError, match=r"a camera's raw file, which needs: pip install 'sfumato\[raw\]'"):
            read(raw_file(tmp_path / f"a{suffix}"))


class Raw:
    """Stands in for LibRaw."""

    sizes = SimpleNamespace(height=24, width=32)
    options: dict[str, object]

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def postprocess(self, **options: object) -> np.ndarray:
        Raw.options = options
        return SMOOTH.astype(np.uint16) * 257


def test_a_raw_file_is_developed_and_keeps_its_exif(
    model: Cleaner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = ModuleType("rawpy")
    library.imread = lambda _: Raw()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rawpy", library)
    (tmp_path / "in").mkdir()
    ((source, target),) = plan([raw_file(tmp_path / "in" / "a.CR2").parent], tmp_path / "out")
    assert target.name == "a.png"
    done = clean(model, source, target, ORDER)
    assert Raw.options["use_camera_wb"] is True
    assert Raw.options["output_bps"] == 16
    assert done.notes == ("developed to 16 bits with the camera's white balance",)
    assert pyvips.Image.new_from_file(str(target)).format == "ushort"
    with Image.open(target) as image:
        found = image.getexif()
        assert (found[0x010F], found.get(0x0112, 1), found.get_ifd(0x8769)[0x8827]) == ("Maker", 1, 800)
    library.imread = lambda _: 1 / 0  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"a\.CR2: damaged or not a raw file"):
        read(source)
