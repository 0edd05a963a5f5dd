"""What a command prints while it works, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sfumato.cli import console
from sfumato.cli import screen as screens
from sfumato.cli.screen import Screen
from sfumato.progress import HeldOut, Phase, Result
from sfumato.runs.folder import RunFolder

from .test_commands import SMALL, Answer, Sfumato, offline, pictures, run, sfumato  # noqa: F401 (fixtures)


def lines(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in answer.out.splitlines()]


def test_events_of_a_training_and_its_result(sfumato: Sfumato, pictures: Path, tmp_path: Path) -> None:  # noqa: F811
    words = ("train", pictures, *SMALL, "train.images=64", "--out", "r")
    answer = sfumato(*words, "--events")
    assert answer.status == 0, answer.err
    rows = lines(answer)
    kinds = [row["event"] for row in rows]
    assert kinds[-1] == "result"
    assert kinds.index("phase") < kinds.index("start") < kinds.index("held_out") < kinds.index("save")
    assert kinds[-2] == "end"
    assert {row["what"] for row in rows if row["event"] == "phase"} == {"pictures"}
    assert all(row["time"] > 0 for row in rows)
    kept = [row for row in rows if row["event"] not in ("phase", "result")]
    bare = [{key: value for key, value in row.items() if key != "time"} for row in RunFolder(tmp_path / "r").events()]
    assert [{key: value for key, value in row.items() if key != "time"} for row in kept] == bare
    again = sfumato(*words, "--json").json()
    assert rows[-1]["value"].keys() == again.keys() == {"run", "images", "stopped", "estimate"}
    assert rows[-1]["value"]["images"] == again["images"] == 64


@pytest.mark.parametrize("words", [("sample", "x", "-n", "abc"), ("train",), ("judge", "--no-such-option", "x")])
def test_events_of_words_that_do_not_parse(sfumato: Sfumato, words: tuple[str, ...]) -> None:  # noqa: F811
    answer = sfumato(*words, "--events")
    (row,) = lines(answer)
    assert (answer.status, row["event"], row["status"]) == (2, "error", 2)
    assert row["text"]
    assert sfumato(*words).out == "", "nothing is left of it"


def test_events_of_a_mistake(sfumato: Sfumato, run: Path) -> None:  # noqa: F811
    for words in (("train", "shaeps"), ("sample", "nowhere"), ("judge", "nowhere"), ("sample", run, "--label", "x")):
        answer = sfumato(*words, "--events")
        *_, row = lines(answer)
        assert (answer.status, row["event"], row["status"]) == (2, "error", 2)
        assert row["text"] in " ".join(answer.err.split()).removeprefix("error: ")
    assert sfumato("sample", "nowhere").out == "", "nothing is left of it"
    both = sfumato("sample", run, "--events", "--json")
    assert (both.status, list(both.json()), both.err.count("\n")) == (2, ["error"], 1)


@pytest.mark.usefixtures("offline")
def test_events_of_the_other_commands(sfumato: Sfumato, run: Path) -> None:  # noqa: F811
    words = {"sample": ("sample", run, "-n", 2), "judge": ("judge", run, "-n", 4, "--out", "j")}
    for name, call in words.items():
        rows = lines(sfumato(*call, "--events"))
        phases = {row["what"] for row in rows if row["event"] == "phase"}
        assert "sampling" in phases, name
        assert [row["event"] for row in rows][-1] == "result"
        assert [row for row in rows if row["event"] == "phase" and row["what"] == "sampling"][-1]["done"] > 0
        assert rows[-1]["value"].keys() == sfumato(*call, "--json").json().keys()


def test_a_folder_in_use_has_a_status_of_its_own(sfumato: Sfumato, pictures: Path, tmp_path: Path) -> None:  # noqa: F811
    with RunFolder(tmp_path / "r").hold():
        answer = sfumato("train", pictures, *SMALL, "train.images=64", "--out", "r", "--events")
    assert answer.status == 75
    assert lines(answer)[-1]["status"] == 75
    assert "in use by another process" in answer.err.splitlines()[-1]


@pytest.mark.slow
def test_a_training_whose_reader_is_gone_saves_and_stops(pictures: Path, tmp_path: Path) -> None:  # noqa: F811
    words = [sys.executable, "-m", "sfumato", "train", str(pictures), *SMALL, "train.images=10000000", "--events"]
    with subprocess.Popen(
        [*words, "--out", str(tmp_path / "r")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "report":
                break
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(120) == 3, errors
    assert "Traceback" not in errors
    end = RunFolder(tmp_path / "r").events("end")[-1]
    assert end["stopped"] == "a closed output"
    assert (tmp_path / "r" / "checkpoints" / f"{end['images']:09d}").is_dir()


def test_drawing_whose_reader_is_gone_stops(run: Path, tmp_path: Path) -> None:  # noqa: F811
    words = [sys.executable, "-m", "sfumato", "sample", str(run), "-n", "64", "--steps", "1000", "--events"]
    with subprocess.Popen(
        [*words, "--out", str(tmp_path / "s")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["what"] == "loading"
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(120) == 3, errors
    assert errors.splitlines()[-1] == "error: stopped by a closed output"
    assert not (tmp_path / "s").exists()


@pytest.mark.usefixtures("offline")
def test_comparing_whose_reader_is_gone_stops(
    sfumato: Sfumato,  # noqa: F811
    run: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sfumato.cli.screen.emit", lambda event: getattr(event, "what", "") != "sampling")
    answer = sfumato("compare", run, run, "-n", 4, "--events")
    assert (answer.status, lines(answer)[-1]["text"]) == (3, "stopped by a closed output")


def test_few_events_of_a_phase_and_always_its_last(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(events=True) as screen:
        for what in ("encoding", "judging"):
            for done in range(1, 10_001):
                screen(Phase(what, done, 10_000))
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for what in ("encoding", "judging"):
        found = [row["done"] for row in rows if row["what"] == what]
        assert found[0] == 1
        assert found[-1] == 10_000
        assert len(found) < 1000


def test_without_a_terminal_short_phases_say_something_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of six phases takes 20 seconds: two minutes must not pass in silence."""
    clock = [0.0]
    monkeypatch.setattr(screens.time, "monotonic", lambda: clock[0])
    screen = screens.Screen()
    for name in ("loading", "pictures", "sampling", "samples", "training pictures", "distances and copies"):
        for done in range(3):
            screen(Phase(name, done, 2))
            clock[0] += 20 / 3
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["pictures: 2 of 2", "samples: 1 of 2", "distances and copies: 0 of 2"]


@pytest.mark.parametrize(
    "words", [("sample", "a\x1b[31mb"), ("a\x1b[31mb",), ("sample", "x", "--a\x1b[31mb"), ("train", "a\x1b[31mb")]
)
def test_what_is_typed_does_not_steer_the_terminal(sfumato: Sfumato, words: tuple[str, ...]) -> None:  # noqa: F811
    answer = sfumato(*words)
    assert answer.status == 2
    assert "\x1b" not in answer.err
    assert r"a\x1b[31mb" in answer.err


def test_lines_are_escaped_where_they_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("caf\u00e9\u00a0\u732b [red]\x9b31m\u202e\udc80\x07\nnext\r")
    assert capsys.readouterr().err == "caf\u00e9\u00a0\u732b [red]\\x9b31m\\u202e\\udc80\\x07\nnext\\r\n"


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit(HeldOut(16, float("nan"), ({"low": 0.0, "high": float("inf"), "loss": 1.0},)))
    console.emit(Result({"fd": {"value": float("-inf")}}))
    first, second = (json.loads(line, parse_constant=pytest.fail) for line in capsys.readouterr().out.splitlines())
    assert first["loss"] is None
    assert first["bands"] == [{"low": 0.0, "high": None, "loss": 1.0}]
    assert second["value"] == {"fd": {"value": None}}


@pytest.mark.slow
def test_a_terminal_that_is_closed(pictures: Path, tmp_path: Path) -> None:  # noqa: F811
    """SIGHUP, and after it every line on stderr fails."""
    words = [sys.executable, "-m", "sfumato", "train", str(pictures), *SMALL, "train.images=10000000"]
    os.environ.setdefault("TERM", "xterm")
    child, terminal = pty.fork()
    if not child:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and so would whatever it starts
        os.execv(sys.executable, [*words, "--out", str(tmp_path / "r")])
    while not RunFolder(tmp_path / "r").events("report"):
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 1 << 16)  # or it would wait for a reader
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "ended before it began"
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    end = RunFolder(tmp_path / "r").events("end")[-1]
    assert end["stopped"] == "SIGHUP"
    assert (tmp_path / "r" / "checkpoints" / f"{end['images']:09d}").is_dir()
    assert os.waitstatus_to_exitcode(status) == 3
