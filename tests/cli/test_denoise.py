"""`sfumato denoise` and `judge --task denoise` as commands: one JSON object, one line a mistake, the others go on."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfumato.cli import denoise as commands
from sfumato.demo import photo as shown
from sfumato.denoising.files import Order
from sfumato.recipe import recipe as recipes

from ..tiny import train_run, write_pictures
from .test_commands import Sfumato, pasted, sfumato  # noqa: F401 (a fixture)

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A denoiser, trained for a moment."""
    root = tmp_path_factory.mktemp("run")
    recipe = recipes.build({
        "task": "denoise",
        "data": {"source": str(write_pictures(root / "pictures")), "image_size": 16, "held_out": 0.2},
        "net": {"kind": "plain", "channels": [16, 16], "blocks": 1, "stem": 2, "gauge": True},
        "noise": {"mean": -1.2, "std": 0.8, "clipped": 0.5, "grey": 0.2},
        "train": {"images": 1600, "batch": 16, "precision": "fp32", "lr": 3e-3, "warmup": 0},
    })  # fmt: skip
    return train_run(root / "cleaner", recipe, (1600,))


def photo(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    flat = np.full((33, 50, 3), 128) + 25 * RNG.standard_normal((33, 50, 3))
    Image.fromarray(flat.clip(0, 255).astype(np.uint8)).save(path)
    return path


def test_photos_in_and_out(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:  # noqa: F811
    source = photo(tmp_path / "a.png")
    answer = sfumato("denoise", source, "--model", run, "--sigma", 0.1, "-o", "b.png", "--json")
    assert answer.status == 0
    found = answer.json()
    facts = {"file": str(source), "written": ["b.png"], "sigma": 0.1, "estimated": False, "notes": []}
    assert found["photos"] == [facts]
    before, after = (np.asarray(Image.open(p)).astype(float) for p in (source, tmp_path / "b.png"))
    assert after.std() < 0.9 * before.std()


def test_a_map_and_auto(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:  # noqa: F811
    photo(tmp_path / "a.png")
    half = np.zeros((33, 50), np.uint8)
    half[:, 25:] = 26
    Image.fromarray(half).save(tmp_path / "map.png")
    assert sfumato("denoise", "a.png", "--model", run, "--sigma", "map.png", "-o", "b.png").status == 0
    before, after = (np.asarray(Image.open(tmp_path / name)).astype(float) for name in ("a.png", "b.png"))
    assert np.abs(after - before)[:, 40:].mean() > 3 * np.abs(after - before)[:, :10].mean()
    told = sfumato("denoise", "a.png", "--model", run, "-o", "c.png").err
    assert "noise of sigma" in told


def test_one_bad_file_of_a_folder_stops_nothing(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:  # noqa: F811
    photo(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    photo(tmp_path / "in" / "c.png")
    answer = sfumato("denoise", "in", "--model", run, "--sigma", 0.1, "-o", "out", "--json")
    assert answer.status == 2
    found = answer.json()
    assert len(found["photos"]) == 2
    assert "in/b.png: empty file" in found["failed"][0]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    alone = sfumato("denoise", "in/b.png", "--model", run, "--sigma", 0.1, "-o", "d.png", "--json")
    assert alone.status == 2
    assert "in/b.png: empty file" in alone.json()["failed"][0]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("gone.png", "-o", "b.png"), "not there"),
        (("a.png", "-o", "b.png", "--sigma", "much"), "auto, a number"),
        (("a.png", "-o", "b.png", "--sigma", "1.5"), "between 0 and 1"),
        (("a.png", "-o", "b.png", "--sigma", "-0.1"), "between 0 and 1"),
        (("a.png", "-o", "b.png", "--sigma", "nan"), "between 0 and 1"),
        (("a.png", "-o", "a.png", "--sigma", "0.1"), "--overwrite"),
        (("a.png", "-o", "b.png", "--sigma", "small.png"), "map of the picture's size"),
        (("a.png", "-o", "b.png", "--sigma", "a.png"), "a map is a grey picture; this one has 3 channels"),
        (
            ("a.png", "-o", "b.png", "--sigma", "small.png", "--samples", "2"),
            "samples need one sigma",
        ),
    ],
)
def test_mistakes(sfumato: Sfumato, run: Path, tmp_path: Path, words: tuple[str, ...], reason: str) -> None:  # noqa: F811
    photo(tmp_path / "a.png")
    Image.new("L", (5, 5)).save(tmp_path / "small.png")
    answer = sfumato("denoise", "--model", run, *words)
    assert answer.status == 2
    assert answer.err.startswith("error:")
    assert reason in answer.err
    assert not (tmp_path / "b.png").exists()


def test_a_denoiser_does_not_draw(sfumato: Sfumato, run: Path) -> None:  # noqa: F811
    for words in (("sample", run), ("judge", run, "--task", "generate", "-n", 4)):
        answer = sfumato(*words)
        assert answer.status == 2
        assert "use `sfumato denoise`" in answer.err


def test_a_denoiser_is_judged_by_what_it_cleans(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:  # noqa: F811
    found = sfumato("judge", run, "--out", "report", "--json").json()
    assert found["n"] == 12
    assert found["psnr"]["per_image"] > found["noisy"]["psnr"]["per_image"] + 2
    assert (tmp_path / "report" / "report.html").is_file()
    again = sfumato(*pasted(tmp_path / "report" / "report.html")[1:], "--out", "again", "--json").json()
    assert (again["psnr"], again["n"]) == (found["psnr"], found["n"])
    blind = sfumato("judge", run, "--blind", "--no-clip", "--sigma", 0.1, "--out", "report", "--json").json()
    assert blind["blind"]
    assert blind["sigma_read"]["mean"] > 0


def test_the_shipped_model_cleans_a_photo_by_default(sfumato: Sfumato, tmp_path: Path) -> None:  # noqa: F811
    section = shown.section()
    values = {fact.label: float(fact.value.split()[0]) for fact in section.facts}
    assert values["PSNR"] > 29.5  # the noisy one has 20.3
    assert values["SSIM"] > 0.78
    picture = np.random.default_rng(0).integers(90, 160, (33, 47, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert sfumato("denoise", "a.png", "-o", "b.png").status == 0
    with Image.open(tmp_path / "b.png") as clean:
        assert np.asarray(clean).std() < picture.std()


@pytest.mark.parametrize("said", [True, False])
def test_it_asks_before_it_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bool) -> None:
    asked: list[str] = []

    def confirm(text: str, **_: object) -> bool:
        asked.append(text)
        return said

    monkeypatch.setattr("typer.confirm", confirm)
    there = photo(tmp_path / "clean.png")
    assert commands._replace(tmp_path / "other.png", Order(0.1))
    assert not asked
    assert commands._replace(there, Order(0.1)) is said
    assert str(there) in asked[0]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "no room"),
        (PermissionError(errno.EACCES, "Permission denied"), "[Pp]ermission"),
    ],
)
def test_what_stops_one_photo_is_a_line(error: BaseException, reason: str) -> None:
    known = commands._known(error, Path("a.png"))
    assert known is not None
    assert re.search(reason, str(known))
    assert "a.png" in str(known)
    assert "\n" not in str(known)
    assert commands._known(RuntimeError("shapes differ"), Path("a.png")) is None
