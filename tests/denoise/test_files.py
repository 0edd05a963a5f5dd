"""Which file becomes which, what is written beside it, and that one bad file stops nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfumato.denoise import files
from sfumato.denoise.files import Order, clean, plan
from sfumato.errors import UserError
from sfumato.model import Model

from .test_clean import plain

ORDER = Order(sigma=0.1)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model() -> Model:
    return plain()


def photo(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(60, 200, (*size[::-1], 3), dtype=np.uint8)).save(path)
    return path


def test_one_photo(model: Model, tmp_path: Path) -> None:
    source = photo(tmp_path / "a.png")
    ((found, target),) = plan([source], tmp_path / "clean.png")
    done = clean(model, found, target, ORDER)
    assert done.written == [tmp_path / "clean.png"]
    with Image.open(target) as image:
        assert (image.size, image.mode) == ((40, 30), "RGB")


def test_folders_and_patterns_keep_their_places(tmp_path: Path) -> None:
    for name in ("in/a.png", "in/deep/b.jpg", "in/.hidden.png", "other/c.webp", "other/d.PNG"):
        photo(tmp_path / name)
    (tmp_path / "in" / "notes.txt").write_text("no photo")
    pairs = plan([tmp_path / "in", tmp_path / "other" / "*.[wP]*"], tmp_path / "out")
    assert [str(target.relative_to(tmp_path)) for _, target in pairs] == [
        "out/a.png", "out/deep/b.jpg", "out/c.webp", "out/d.PNG",
    ]  # fmt: skip


def test_what_is_written_beside(model: Model, tmp_path: Path) -> None:
    source = photo(tmp_path / "a.jpg", (700, 500))
    done = clean(model, source, tmp_path / "b.jpg", replace(ORDER, samples=2, show=True))
    names = ["b.jpg", "b-1.jpg", "b-2.jpg", "b-uncertainty.png", "b-show.png"]
    assert [path.name for path in done.written] == names
    with Image.open(tmp_path / "b-show.png") as shown, Image.open(tmp_path / "b-uncertainty.png") as spread:
        assert shown.width == 3 * files.WIDE + 16
        assert (spread.size, spread.mode) == ((700, 500), "L")
        assert np.asarray(spread).max() == 255


def test_the_noise_is_found_and_told(model: Model, tmp_path: Path) -> None:
    flat = np.full((600, 600, 3), 128) + 20 * RNG.standard_normal((600, 600, 3))
    Image.fromarray(flat.clip(0, 255).astype(np.uint8)).save(tmp_path / "a.png")
    done = clean(model, tmp_path / "a.png", tmp_path / "b.png", Order())
    assert done.found is not None
    assert done.sigma == pytest.approx(20 / 255, rel=0.15)


def test_sixteen_bits_and_grey(model: Model, tmp_path: Path) -> None:
    deep = RNG.integers(20_000, 40_000, (20, 30), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    clean(model, tmp_path / "a.png", tmp_path / "b.png", ORDER)
    with Image.open(tmp_path / "b.png") as image:
        done = np.asarray(image)
    assert done.dtype == np.uint16
    assert len(np.unique(done)) > 256


def test_nothing_is_replaced_unasked(model: Model, tmp_path: Path) -> None:
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
        (["*.bmp"], "out", "nothing matches"),
        (["a.png"], "nowhere/b.png", "the folder .* does not exist"),
        (["in"], "b.png", "do not fit into one file"),
        (["a.png", "in/a.png"], "out", "two photos would become"),
    ],
)
def test_plans_that_cannot_be(tmp_path: Path, given: list[str], out: str, reason: str) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "b.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=reason) as caught:
        plan([tmp_path / name for name in given], tmp_path / out)
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_nothing(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = photo(tmp_path / "a.png")

    def full(self: object, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyvips.Image.write_to_file", full)
    with pytest.raises(UserError, match="no room to write"):
        clean(model, source, tmp_path / "b.png", ORDER)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
