"""Which file becomes which, what is written beside it, and that one bad file stops nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfumato.denoising import files
from sfumato.denoising.cleaner import Cleaner
from sfumato.denoising.files import clean
from sfumato.denoising.places import Order, plan
from sfumato.errors import UserError

from .test_clean import plain

ORDER = Order(sigma=0.1)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model() -> Cleaner:
    return plain().cleaner()


def photo(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(60, 200, (*size[::-1], 3), dtype=np.uint8)).save(path)
    return path


def test_one_photo(model: Cleaner, tmp_path: Path) -> None:
    source = photo(tmp_path / "a.png")
    ((found, target),) = plan([source], tmp_path / "clean.png")
    done = clean(model, found, target, ORDER)
    assert done.written == [tmp_path / "clean.png"]
    with Image.open(target) as image:
        assert (image.size, image.mode) == ((40, 30), "RGB")


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2)])
def test_a_photo_of_a_pixel(model: Cleaner, tmp_path: Path, size: tuple[int, int]) -> None:
    source = photo(tmp_path / "a.png", size)
    for sigma in (0.1, None):
        clean(model, source, tmp_path / "b.png", Order(sigma=sigma, show=True, overwrite=True))
        with Image.open(tmp_path / "b.png") as image:
            assert image.size == size


def test_folders_and_patterns_keep_their_places(tmp_path: Path) -> None:
    for name in ("in/a.png", "in/deep/b.jpg", "in/.hidden.png", "other/c.webp", "other/d.PNG"):
        photo(tmp_path / name)
    (tmp_path / "in" / "notes.txt").write_text("no photo")
    pairs = plan([tmp_path / "in", tmp_path / "other" / "*.[wP]*"], tmp_path / "out")
    assert [str(target.relative_to(tmp_path)) for _, target in pairs] == [
        "out/a.png", "out/deep/b.jpg", "out/c.webp", "out/d.PNG",
    ]  # fmt: skip


def test_what_is_written_beside(model: Cleaner, tmp_path: Path) -> None:
    source = photo(tmp_path / "a.jpg", (700, 500))
    done = clean(model, source, tmp_path / "b.jpg", replace(ORDER, samples=2, show=True))
    names = ["b.jpg", "b-1.jpg", "b-2.jpg", "b-uncertainty.png", "b-show.png"]
    assert [path.name for path in done.written] == names
    with Image.open(tmp_path / "b-show.png") as shown, Image.open(tmp_path / "b-uncertainty.png") as spread:
        assert shown.width == 3 * files.WIDE + 16
        assert (spread.size, spread.mode) == ((700, 500), "L")
        assert 0 < np.asarray(spread).max() <= 255


def test_the_noise_is_found_and_told(model: Cleaner, tmp_path: Path) -> None:
    flat = np.full((600, 600, 3), 128) + 20 * RNG.standard_normal((600, 600, 3))
    Image.fromarray(flat.clip(0, 255).astype(np.uint8)).save(tmp_path / "a.png")
    done = clean(model, tmp_path / "a.png", tmp_path / "b.png", Order())
    assert "white" in done.found
    assert done.sigma == pytest.approx(20 / 255, rel=0.15)


def test_sixteen_bits_and_grey(model: Cleaner, tmp_path: Path) -> None:
    deep = RNG.integers(20_000, 40_000, (20, 30), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    clean(model, tmp_path / "a.png", tmp_path / "b.png", ORDER)
    with Image.open(tmp_path / "b.png") as image:
        done = np.asarray(image)
    assert done.dtype == np.uint16
    assert len(np.unique(done)) > 256


def test_nothing_is_replaced_unasked(model: Cleaner, tmp_path: Path) -> None:
    source, target = photo(tmp_path / "a.png"), photo(tmp_path / "b.png")
    before = target.read_bytes()
    with pytest.raises(UserError, match="exists: --overwrite"):
        clean(model, source, target, ORDER)
    assert target.read_bytes() == before
    clean(model, source, target, replace(ORDER, overwrite=True))
    assert target.read_bytes() != before


@pytest.mark.parametrize(
    ("given", "out", "reason"),
    [
        (["gone.png"], "b.png", "not there"),
        (["empty"], "out", "holds no photos"),
        (["*.bmp"], "out", "no photos"),
        (["a.png"], "nowhere/b.png", "the folder .* does not exist"),
        (["in"], "b.png", "do not fit into one file"),
        (["a.png"], "b.bmp", "unknown picture format .bmp"),
        (["a.png", "in/b.png"], "a.txt", "is a file: name a folder"),
        (["a.png", "in/a.png"], "out", "two pictures would become"),
        (["in/**.png"], "out", "Invalid pattern|holds no|no photos"),
        (["a" * 300], "out", "File name too long"),
    ],
)
def test_plans_that_cannot_be(tmp_path: Path, given: list[str], out: str, reason: str) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "b.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("a file")
    with pytest.raises(UserError, match=reason) as caught:
        plan([tmp_path / name for name in given], tmp_path / out)
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_nothing(model: Cleaner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = photo(tmp_path / "a.png")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for work in ("pyvips.Image.write_to_file", "sfumato.denoising.embed._png"):
        with monkeypatch.context() as patch:
            patch.setattr(work, full)
            with pytest.raises(UserError, match=r"no room to write .*/b\.png"):
                clean(model, source, tmp_path / "b.png", ORDER)
        assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_what_is_written_beside_never_takes_the_place_of_another_photo(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "a-1.png")
    assert len(plan([tmp_path / "in"], tmp_path / "out")) == 2
    with pytest.raises(UserError, match=r"two pictures would become .*a-1\.png"):
        plan([tmp_path / "in"], tmp_path / "out", Order(samples=1))


def test_what_was_cleaned_into_the_folder_is_not_cleaned_again(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "clean" / "a.png")
    assert [source for source, _ in plan([tmp_path / "in"], tmp_path / "in" / "clean")] == [tmp_path / "in" / "a.png"]
    with pytest.raises(UserError, match="two pictures would become"):
        plan([tmp_path / "*" / "**" / "*.png"], tmp_path / "out")


def test_all_of_it_or_nothing(model: Cleaner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = photo(tmp_path / "a.png")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "triptych", full)
    with pytest.raises(UserError, match="no room"):
        clean(model, source, tmp_path / "b.png", replace(ORDER, show=True))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_folder_in_the_way_of_one_leaves_the_others(model: Cleaner, tmp_path: Path) -> None:
    source, shown = photo(tmp_path / "a.png"), photo(tmp_path / "b-show.png")
    before = shown.read_bytes()
    (tmp_path / "b.png").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        clean(model, source, tmp_path / "b.png", replace(ORDER, show=True, overwrite=True))
    assert shown.read_bytes() == before


def test_what_the_format_cannot_hold_is_said_before_the_work(tmp_path: Path) -> None:
    Image.fromarray(RNG.integers(0, 65535, (20, 30), dtype=np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="holds 8 bits"):
        clean(None, tmp_path / "a.png", tmp_path / "b.jpg", ORDER)  # type: ignore[arg-type]


def test_an_animated_png_is_refused(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="has 2 frames"):
        files.read(tmp_path / "a.png")


def test_what_is_shown_is_upright_and_as_large_as_the_noise(model: Cleaner, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noisy = Image.fromarray(RNG.integers(0, 256, (30, 1000, 3), dtype=np.uint8))
    noisy.save(tmp_path / "a.jpg", exif=exif)
    clean(model, tmp_path / "a.jpg", tmp_path / "b.jpg", replace(ORDER, show=True, samples=2))
    with Image.open(tmp_path / "b-show.png") as shown, Image.open(tmp_path / "b-uncertainty.png") as spread:
        assert shown.size == (3 * 30 + 2 * files.GAP, files.WIDE)
        assert spread.size == (30, 1000)
        assert np.asarray(shown)[:, -30:].std() > 30
