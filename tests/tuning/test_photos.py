"""The check of photos: every verdict with its reason, never below five, nothing dropped silently."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from sfumato.errors import UserError
from sfumato.tuning.photos.photos import check, perceptual_hash, square

RNG = np.random.default_rng(0)


def scene(seed: int, size: tuple[int, int] = (160, 160)) -> Image.Image:
    """A picture with detail that no other seed has."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 12, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(coarse, float) + grain).clip(0, 255).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight good photos."""
    for k in range(8):
        scene(k).save(tmp_path / f"{k}.png")
    return tmp_path


def verdict(folder: Path, name: str, side: int = 128) -> tuple[str, str]:
    found = next(v for v in check(folder, side).verdicts if v.path.name == name)
    return found.use, "; ".join(found.reasons)


def test_good_photos_are_used(folder: Path) -> None:
    report = check(folder, 128)
    assert [v.use for v in report.verdicts] == ["use"] * 8
    assert report.lines() == ["8 of 8 photos are used"]


def test_of_near_duplicates_the_sharper_stays(folder: Path) -> None:
    scene(3).resize((150, 150)).save(folder / "again.jpg", quality=70)
    use, why = verdict(folder, "again.jpg")
    assert (use, why) == ("leave out", "nearly the same picture as 3.png, which is sharper")


def test_one_drawing_on_two_backgrounds_is_two_photos(folder: Path) -> None:
    for name, colour in (("red", (200, 32, 40)), ("blue", (40, 90, 210))):
        picture = Image.new("RGB", (160, 160), colour)
        picture.paste(scene(3, (80, 80)), (40, 40))
        picture.save(folder / f"{name}.png")
    assert verdict(folder, "red.png")[0] == verdict(folder, "blue.png")[0] == "use"


@pytest.mark.parametrize(
    ("name", "make", "use", "reason"),
    [
        ("blur.png", lambda: scene(20).filter(ImageFilter.GaussianBlur(6)), "leave out", "blurred"),
        ("small.png", lambda: scene(21, (50, 60)), "leave out", "too small"),
        ("less.png", lambda: scene(22, (100, 120)), "doubtful", "is enlarged"),
        ("dark.png", lambda: scene(23).point(lambda v: v // 8), "doubtful", "very dark"),
        ("white.png", lambda: scene(24).point(lambda v: min(255, 215 + v // 2)), "doubtful", "very bright"),
        ("flat.png", lambda: Image.new("RGB", (160, 160), "grey"), "leave out", "all of it has one tone"),
        ("wide.png", lambda: scene(25, (600, 160)), "doubtful", "so narrow"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, name: str, make, use: str, reason: str) -> None:
    make().save(folder / name)
    found, why = verdict(folder, name)
    assert found == use
    assert reason in why


def test_a_broken_photo_is_named_and_the_others_go_on(folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    report = check(folder, 128)
    assert len(report.used) == 8
    assert any(line.startswith("broken.jpg: leave out") for line in report.lines())


def test_never_below_five_if_they_can_be_read(tmp_path: Path) -> None:
    for k in range(3):
        scene(k).save(tmp_path / f"{k}.png")
    for k in range(4):
        scene(0).save(tmp_path / f"same{k}.png")
    report = check(tmp_path, 128)
    assert len(report.used) == 5
    assert sum("so few" in " ".join(v.reasons) for v in report.verdicts) == 2


@pytest.mark.parametrize(("count", "reason"), [(0, "holds no photos"), (101, "choose five to ten")])
def test_none_and_too_many(tmp_path: Path, count: int, reason: str) -> None:
    for k in range(count):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{k}.png")
    with pytest.raises(UserError, match=reason):
        check(tmp_path, 64)


def test_no_folder_and_none_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        check(tmp_path / "gone", 64)
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError, match=r"none of the 1 photos.*a\.png: empty file"):
        check(tmp_path, 64)


@settings(max_examples=20)
@given(st.integers(20, 300), st.integers(20, 300))
def test_a_crop_lies_inside(height: int, width: int) -> None:
    crop = square(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))
    assert crop.side == min(height, width)
    assert 0 <= crop.left <= width - crop.side
    assert 0 <= crop.top <= height - crop.side


@pytest.mark.parametrize("at", [40, 330])
def test_a_crop_keeps_the_subject(at: int) -> None:
    picture = np.full((160, 480, 3), 120, np.uint8)
    picture[30:130, at : at + 100] = RNG.integers(0, 256, (100, 100, 3))
    crop = square(picture)
    assert crop.left <= at
    assert crop.left + crop.side >= at + 100


def test_a_hash_bears_scaling_and_light() -> None:
    picture = np.asarray(scene(1).convert("L"), float)
    other = np.asarray(scene(2).convert("L"), float)
    small = np.asarray(scene(1).resize((90, 90)).convert("L"), float) * 0.8 + 10
    assert (perceptual_hash(picture) != perceptual_hash(small)).sum() <= 6
    assert (perceptual_hash(picture) != perceptual_hash(other)).sum() > 12


def test_a_small_but_sharp_copy_does_not_push_the_photo_out(folder: Path) -> None:
    scene(3).resize((40, 40), Image.Resampling.LANCZOS).save(folder / "thumb.png")
    assert verdict(folder, "3.png")[0] == "use"
    assert verdict(folder, "thumb.png")[0] == "leave out"


def test_photos_of_64_pixels_are_as_sharp_as_larger_ones_at_64(tmp_path: Path) -> None:
    for k in range(6):
        whole = scene(k, (512, 512))
        (whole.resize((64, 64), Image.Resampling.LANCZOS) if k % 2 else whole).save(tmp_path / f"{k}.png")
    assert [v.use for v in check(tmp_path, 64).verdicts] == ["use"] * 6


def test_files_that_are_not_read_are_named(folder: Path) -> None:
    (folder / "a.psd").write_bytes(b"8BPS")
    (folder / "b.NEF").write_bytes(b"II*")
    (folder / "plan.pdf").write_bytes(b"%PDF")
    (folder / "README").write_text("words")
    (folder / "gone.txt").write_text("of no photo")
    (folder / "more").mkdir()
    scene(50).save(folder / "more" / "c.png")
    scene(51).save(folder / "more" / "d", "JPEG")
    assert verdict(folder, "a.psd") == ("leave out", "a format that is not read: save it as JPEG, PNG or TIFF")
    assert "sfumato denoise" in verdict(folder, "b.NEF")[1]
    lines = check(folder, 128).lines()
    assert lines[0] == "8 of 10 photos are used"
    assert sorted(lines[3:]) == [
        "README: not used: not a picture",
        "gone.txt: no picture has this name",
        "more/: not used: photos in subfolders (2): move them up",
        "plan.pdf: not used: not a picture",
    ]


def test_endings_of_all_kinds_and_none_are_used(tmp_path: Path) -> None:
    for k, name in enumerate(("a.jfif", "b.jpe", "IMG_1", "c.JPG", "d.bmp")):
        scene(k).save(tmp_path / name, "BMP" if name.endswith("bmp") else "JPEG")
    assert check(tmp_path, 128).lines() == ["5 of 5 photos are used"]
    frames = [scene(k).quantize() for k in (60, 61)]
    frames[0].save(tmp_path / "e.gif", save_all=True, append_images=frames[1:])
    assert verdict(tmp_path, "e.gif") == ("use", "the first of its 2 frames is used")


def test_photos_in_subfolders_alone_are_named(tmp_path: Path) -> None:
    (tmp_path / "car").mkdir()
    scene(1).save(tmp_path / "car" / "a.png")
    with pytest.raises(UserError, match=r"holds no photos .*; car/: not used: photos in subfolders \(1\)"):
        check(tmp_path, 128)


def test_of_equal_files_the_first_stays(folder: Path) -> None:
    for name in ("3 copy.png", "3 (1).png", "zz.png"):
        shutil.copy(folder / "3.png", folder / name)
    scene(3).save(folder / "3b.bmp")
    used = [v.path.name for v in check(folder, 128).used]
    assert used == [f"{k}.png" for k in range(8)]
    for name in ("3 copy.png", "3 (1).png", "zz.png"):
        assert verdict(folder, name) == ("leave out", "the same file as 3.png")
    assert verdict(folder, "3b.bmp") == ("leave out", "the same picture as 3.png")
