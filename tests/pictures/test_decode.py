from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sfumato.pictures.decode import PictureError, TooLargeError, decode, header
from tests.pictures.picture_files import chunk, encoded, hostile, photo, png

HOSTILE = hostile()


def test_there_are_at_least_40_hostile_files() -> None:
    assert len(HOSTILE) >= 40


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.filterwarnings("ignore")
def test_hostile_bytes_and_files_give_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name])
    for source in (HOSTILE[name], path):
        with pytest.raises(PictureError) as caught:
            decode(source)
        reason = str(caught.value)
        assert reason
        assert "\n" not in reason
        assert len(reason) < 160


@settings(max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF"]), st.integers(0, 2**32), st.integers(0, 255))
@pytest.mark.filterwarnings("ignore")
def test_one_changed_byte_never_escapes_as_another_error(kind: str, where: int, value: int) -> None:
    content = bytearray(encoded(Image.fromarray(photo(12, 9)), kind))
    content[where % len(content)] = value
    try:
        picture = decode(bytes(content), max_pixels=10_000)
    except PictureError:
        return
    assert picture.dtype == np.uint8
    assert picture.ndim == 3


def test_our_limit_is_the_one_that_counts_and_nothing_global_changes() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(TooLargeError, match="30000 x 30000"):
        decode(HOSTILE["claims-900-megapixels.png"])
    with pytest.raises(TooLargeError, match="over the limit"):
        decode(encoded(Image.fromarray(photo()), "PNG"), max_pixels=3000)
    # 190 megapixels are over Pillow's own limit and not over ours: refused only as the pixels are missing
    wide = png(19000, 10000, 1, 0, b"\0")
    with pytest.raises(PictureError) as caught:
        decode(wide)
    assert not isinstance(caught.value, TooLargeError)
    assert before == Image.MAX_IMAGE_PIXELS
    assert header(HOSTILE["claims-900-megapixels.png"]).size == "30000x30000"


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """All hostile files, and a real 900 megapixel PNG, in a process that may grow by 300 MB only."""
    rows = zlib.compress(bytes((1 + 30000 // 8) * 30000))
    head = struct.pack(">IIBBBBB", 30000, 30000, 1, 0, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "real-900-megapixels.png").write_bytes(whole)
    for name, content in HOSTILE.items():
        (tmp_path / name).write_bytes(content)
    code = """if True:
        import resource, sys, warnings
        from pathlib import Path
        from sfumato.pictures.decode import PictureError, decode, header
        warnings.simplefilter("ignore")
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
        for path in sorted(Path(sys.argv[1]).iterdir()):
            try:
                header(path)
            except PictureError as error:
                assert "memory" not in str(error), (path.name, error)
            try:
                decode(path)
            except PictureError as error:
                assert "memory" not in str(error), (path.name, error)
            else:
                raise SystemExit(f"{path.name} was decoded")
        """
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_not_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "folder.png", tmp_path / "absent.png", Path("/dev/zero")):
        with pytest.raises(PictureError):
            decode(path)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_lossless_formats_and_modes_are_exact(kind: str, mode: str) -> None:
    image = Image.fromarray(photo()).convert(mode)
    picture = decode(encoded(image, kind))
    grey = mode in ("1", "L")
    assert picture.shape == (48, 64, 1 if grey else 3)
    assert np.array_equal(np.squeeze(picture), np.asarray(image.convert("L" if grey else "RGB")))
    assert picture.flags.writeable


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_are_close(kind: str) -> None:
    array = photo()
    picture = decode(encoded(Image.fromarray(array), kind, quality=95))
    assert np.abs(picture.astype(int) - array).mean() < 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :20], upright[:12, 20:], upright[12:, :20] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    # the stored pixels that a viewer, obeying the tag, turns into `upright` (EXIF 2.3, section 4.6.4)
    rows, columns = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    stored = upright if rows in ("top", "bottom") else upright.transpose(1, 0, 2)
    stored = stored[::-1] if rows in ("bottom", "right") else stored
    stored = stored[:, ::-1] if columns in ("right", "bottom") else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    picture = decode(content)
    assert picture.shape == upright.shape
    assert (
        np.abs(picture[[4, 4, 20, 20], [5, 35, 5, 35]].astype(int) - upright[[4, 4, 20, 20], [5, 35, 5, 35]]).max() < 25
    )
    assert header(content).size == "40x24"


@pytest.mark.filterwarnings("ignore")
def test_broken_exif_does_not_spoil_the_pixels() -> None:
    content = encoded(Image.fromarray(photo()), "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 3000)
    assert decode(content).shape == (48, 64, 3)


def test_alpha_is_composited_on_white() -> None:
    rgb, alpha = photo(), np.linspace(0, 255, 48 * 64).reshape(48, 64).astype(np.uint8)
    want = rgb * (alpha[..., None] / 255) + 255 * (1 - alpha[..., None] / 255)
    rgba = Image.fromarray(np.dstack([rgb, alpha]))
    for kind in ("PNG", "TIFF"):
        assert np.abs(decode(encoded(rgba, kind)) - want).max() <= 1
    webp = decode(encoded(rgba, "WEBP", lossless=True, exact=True))
    assert np.abs(webp - want).max() <= 1
    grey = decode(encoded(Image.fromarray(np.dstack([rgb[..., 0], alpha]), "LA"), "PNG"))
    assert grey.shape == (48, 64, 1)
    assert np.abs(grey[..., 0] - want[..., 0]).max() <= 1


def test_transparent_colours() -> None:
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 200])
    picture = decode(encoded(palette, "PNG", transparency=bytes([0, 255, 128])))
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[0, 1].tolist() == [200, 0, 0]
    assert np.abs(picture[1, 0].astype(int) - [127, 127, 227]).max() <= 1
    grey = Image.fromarray(np.array([[7, 90]], np.uint8))
    assert decode(encoded(grey, "PNG", transparency=7)).ravel().tolist() == [255, 90]
    colour = Image.fromarray(np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8))
    assert decode(encoded(colour, "PNG", transparency=(1, 2, 3))).tolist() == [[[255, 255, 255], [1, 2, 4]]]
    four_bits = png(2, 1, 4, 0, b"\0\x1f", chunk(b"tRNS", struct.pack(">H", 1)))  # samples 1 and 15
    assert decode(four_bits).ravel().tolist() == [255, 255]
    sixteen = png(2, 1, 16, 0, b"\0" + struct.pack(">HH", 500, 30000), chunk(b"tRNS", struct.pack(">H", 500)))
    assert decode(sixteen).ravel().tolist() == [255, round(30000 / 257)]
    wide = struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC)
    deep = png(1, 1, 16, 2, b"\0" + wide, chunk(b"tRNS", wide))
    assert decode(deep).ravel().tolist() == [255, 255, 255]


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_is_scaled_not_clipped(order: str) -> None:
    values = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)
    want = np.rint(values / 257)
    png_file = encoded(Image.fromarray(values), "PNG")
    tiff = io.BytesIO()
    Image.frombytes("I;16" if order == "<" else "I;16B", (64, 48), values.astype(f"{order}u2").tobytes()).save(
        tiff, "TIFF"
    )
    for content in (png_file, tiff.getvalue()):
        picture = decode(content)
        assert picture.shape == (48, 64, 1)
        assert np.array_equal(picture[..., 0], want)
        assert header(content).mode == "L 16-bit"


@pytest.mark.parametrize(("colour", "bands"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_colour_png(colour: int, bands: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 65536, (8, 8, bands))
    if bands in (2, 4):
        values[..., -1] = 65535
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    picture = decode(png(8, 8, 16, colour, rows))
    want = values[..., :1] if bands == 2 else values[..., :3]
    assert picture.shape == want.shape
    assert np.abs(picture - want / 257).max() <= 1


def test_grey_tiff_of_other_depths() -> None:
    ramp = np.linspace(0, 1, 64).reshape(8, 8).astype(np.float32)
    want = np.rint(ramp * 255)
    for values in (ramp, ramp * 255, ramp * 65535, (ramp * 65535).astype(np.int32)):
        picture = decode(encoded(Image.fromarray(values), "TIFF"))
        assert picture.shape == (8, 8, 1)
        assert np.abs(picture[..., 0] - want).max() <= 1
    with pytest.raises(PictureError, match="no agreed white"):
        decode(encoded(Image.fromarray(ramp * 1e7), "TIFF"))


def test_white_is_zero_in_16_bits() -> None:
    values = np.array([[0, 65535, 257 * 100]], np.uint16)
    content = encoded(Image.fromarray(values), "TIFF", tiffinfo={262: 0})
    assert decode(content).ravel().tolist() == [255, 0, 155]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    flat = {
        (0, 0, 0, 0): (255, 255, 255),
        (255, 0, 0, 0): (0, 255, 255),
        (0, 255, 255, 0): (255, 0, 0),
        (0, 0, 0, 255): (0, 0, 0),
    }
    for ink, rgb in flat.items():
        options = {"quality": 95} if kind == "JPEG" else {}
        content = encoded(Image.new("CMYK", (16, 16), ink), kind, **options)
        assert np.abs(decode(content).astype(int) - rgb).max() <= 4
        assert header(content).mode == "CMYK"


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for kind in ("WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert decode(content)[8, 8].tolist() == [255, 0, 0]


def test_a_jpeg_may_be_decoded_small_but_not_smaller_than_asked() -> None:
    content = encoded(Image.fromarray(photo(480, 640)), "JPEG", quality=95)
    assert decode(content).shape == (480, 640, 3)
    assert decode(content, shorter=128).shape == (240, 320, 3) or min(decode(content, shorter=128).shape[:2]) >= 128
    assert min(decode(content, shorter=128).shape[:2]) < 480
    assert decode(content, shorter=400).shape == (480, 640, 3)


def test_threads_do_not_disturb_each_other() -> None:
    contents = [encoded(Image.fromarray(photo(40, 50, seed)), kind) for seed in range(8) for kind in ("PNG", "TIFF")]
    alone = [decode(content) for content in contents]
    wrong: list[int] = []

    def check() -> None:
        for index, content in enumerate(contents):
            if not np.array_equal(decode(content), alone[index]):
                wrong.append(index)

    threads = [threading.Thread(target=check) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_heic_with_its_extra() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    y, x = np.mgrid[:48, :64]
    picture = np.stack([4 * x, 5 * y, 255 - 4 * x], 2).clip(0, 255).astype(np.uint8)
    file = pillow_heif.from_pillow(Image.fromarray(picture))
    buffer = io.BytesIO()
    file.save(buffer, quality=95)
    data = buffer.getvalue()
    assert header(data).size == "64x48"
    decoded = decode(data)
    assert decoded.shape == (48, 64, 3)
    assert np.abs(decoded.astype(int) - picture).mean() < 3
    with pytest.raises(PictureError, match="damaged"):
        decode(data[: len(data) // 2])
    with pytest.raises(PictureError, match="over the limit"):
        decode(data, max_pixels=1000)


def test_heic_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PictureError, match=r"sfumato\[heic\]"):
        decode(b"\0\0\0\x18ftypheic" + b"\0" * 40)
