"""--json: exactly one object on stdout, of success or of failure, in every command that has it."""

# ruff: noqa: F811 (fixtures)
from __future__ import annotations

from pathlib import Path

import pytest
import typer
from PIL import Image

from sfumato import cli

from ..models.test_verbs import photos, shelf  # noqa: F401
from .test_commands import SMALL, Sfumato, offline, sfumato  # noqa: F401

OPTIONS = {
    command: {option.name for option in group.params}
    for command, group in typer.main.get_command(cli.app).commands.items()  # type: ignore[attr-defined]
}
WITH_JSON = sorted(command for command, names in OPTIONS.items() if "json" in names)
BRIEF = ("-n", 4, "--steps", 1)
WORKS: dict[str, tuple[object, ...]] = {
    "doctor": ("doctor",),
    "recipe": ("recipe", "cifar10"),
    "train": ("train", "PICTURES", *SMALL, "train.images=32", "--dry-run"),
    "sample": ("sample", "MODEL", "-n", 1, "--steps", 1),
    "denoise": ("denoise", "photo.png", "--out", "clean.png", "--model", "MODEL"),
    "judge": ("judge", "MODEL", *BRIEF),
    "compare": ("compare", "MODEL", "MODEL", *BRIEF),
    "merge": ("merge", "LORA", "--base", "BASE", "--out", "merged"),
    "export": ("export", "BASE", "--out", "exported"),
    "tune": ("tune", "PHOTOS", "--noun", "car", "--base", "BASE", "--dry-run", "train.batch=2"),
    "runs": ("runs", "list", "."),
}
FAILS: dict[str, tuple[object, ...]] = {
    "demo": ("demo", "--out", "photo.png"),
    "recipe": ("recipe", "cifar11"),
    "train": ("train", "nowhere"),
    "sample": ("sample", "MODEL", "--label", "wasp"),
    "denoise": ("denoise", "photo.png", "nowhere.png", "--out", "clean"),
    "judge": ("judge", "MODEL", "--data", "nowhere", *BRIEF),
    "compare": ("compare", "MODEL", "cifar10", *BRIEF),
    "merge": ("merge", "photo.png", "--base", "BASE", "--out", "merged"),
    "export": ("export", "MODEL", "--out", "exported"),
    "tune": ("tune", "PICTURES", "--noun", "car", "--base", "BASE"),
    "runs": ("runs", "show", "nowhere"),
}
"""What is found late: the early mistakes are in `test_face`."""


@pytest.fixture
def call(sfumato: Sfumato, shelf: Path, photos: Path, tmp_path: Path) -> Sfumato:
    """The command, with names for what lies on the shelf."""
    Image.new("RGB", (33, 20), (200, 120, 40)).save(tmp_path / "photo.png")
    places = {"MODEL": shelf / "pixel", "BASE": shelf / "pipeline", "LORA": shelf / "LoRA folder",
              "PICTURES": shelf / "pictures", "PHOTOS": photos}  # fmt: skip
    return lambda *words: sfumato(*(places.get(str(word), word) for word in words))


def test_every_command_is_here() -> None:
    assert set(WITH_JSON) == {*WORKS, *FAILS}
    assert {*WITH_JSON} - {*WORKS} == {"demo"}, "the demo, which takes minutes, has a test of its own"
    assert {*WITH_JSON} - {*FAILS} == {"doctor"}, "which never fails"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("command", WORKS)
def test_one_object_of_success(call: Sfumato, command: str) -> None:
    answer = call(*WORKS[command], "--json")
    assert answer.status == 0, answer.err
    assert "error" not in answer.json()


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("command", FAILS)
def test_one_object_of_failure(call: Sfumato, command: str) -> None:
    answer = call(*FAILS[command], "--json")
    assert answer.status == 2
    assert list(answer.json()) == ["error"]
    assert " ".join(answer.json()["error"].split()) in " ".join(answer.err.split())


@pytest.mark.parametrize("command", WITH_JSON)
def test_one_object_of_words_that_are_no_command(sfumato: Sfumato, command: str) -> None:
    answer = sfumato(command, "--jsn", "--json")
    assert answer.status == 2
    assert "--jsn" in answer.json()["error"]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (RuntimeError("a bug"), None)])
def test_one_object_of_what_breaks_off(
    sfumato: Sfumato, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException,
    status: int | None,
) -> None:  # fmt: skip
    def stop(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", stop)
    if status is not None:
        answer = sfumato("sample", "x", "--json")
        assert (answer.status, list(answer.json())) == (status, ["error"])
        return
    with pytest.raises(RuntimeError, match="a bug"):
        sfumato("sample", "x", "--json")
    assert capsys.readouterr().out == '{"error": "RuntimeError: a bug"}\n'


def test_some_photos_that_fail_are_named_in_the_one_object(call: Sfumato, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (33, 20), (200, 120, 40)).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    answer = call("denoise", "in", "--out", "out", "--model", "MODEL", "--json")
    assert answer.status == 2
    assert [len(answer.json()[key]) for key in ("photos", "failed")] == [1, 1]


def test_the_page_says_what_a_failure_prints() -> None:
    """As the tests above find it, at its beginning and its end."""
    page = " ".join((Path(__file__).parents[2] / "docs" / "json.md").read_text("utf-8").split())
    assert 'A command that fails prints `{"error": "..."}`' in page
    assert "After an error, whose object has the one key `error`" in page
    assert "nothing is printed" not in page
