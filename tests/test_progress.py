"""Events: the page that describes them says what the dataclasses hold; a stop is read; signals request it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import typing
from pathlib import Path

import pytest

from sfumato.progress import End, Event, HeldOut, Phase, Start, Stop, Stopped, phase, phases
from sfumato.runs.folder import RunFolder
from sfumato.runs.signals import stopping

PAGE = Path(__file__).parent.parent / "docs" / "events.md"
KINDS = {each.kind: each for each in typing.get_args(Event)}


def described() -> dict[str, set[str]]:
    """The keys of each kind."""
    found: dict[str, set[str]] = {}
    for line in PAGE.read_text("utf-8").splitlines():
        if row := re.fullmatch(r"\| `(\w+)` \| (.+) \| .+ \|", line):
            found[row[1]] = set(re.findall(r"`(\w+)`", row[2]))
    return found


def test_the_page_has_every_event_with_its_keys() -> None:
    keys = {kind: {field.name for field in dataclasses.fields(each)} for kind, each in KINDS.items()}
    assert described() == keys


def test_events_are_frozen_and_lines_of_the_log(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    start = Start(0, 64, 16, "cpu", 1, "no", ("bad",))
    held = HeldOut(32, 0.5, ({"low": 0.0, "high": 1.0, "loss": 0.5},), {"drift": 0.25})
    for event in (start, held, End(64, 1.5, None)):
        folder.log(event.to_json())
        with pytest.raises(dataclasses.FrozenInstanceError):
            event.images = 3  # type: ignore[misc]
    lines = [{key: value for key, value in row.items() if key != "time"} for row in folder.events()]
    assert lines[0] == {
        **{"event": "start", "images": 0, "of": 64, "batch": 16, "device": "cpu", "processes": 1, "precision": "no"},
        "damaged": ["bad"],
    }
    bands = [{"low": 0.0, "high": 1.0, "loss": 0.5}]
    assert lines[1] == {"event": "held_out", "images": 32, "loss": 0.5, "bands": bands, "drift": 0.25}
    assert folder.events("end")[0]["stopped"] is None


def test_a_stop_keeps_its_first_reason_and_ends_a_phase() -> None:
    seen: list[Event] = []
    stop = Stop()
    tell = phase("encoding", seen.append, stop)
    tell(1, 3)
    stop.request("first")
    stop.request("second")
    with pytest.raises(Stopped, match="first"):
        tell(2, 3)
    assert seen == [Phase("encoding", 1, 3), Phase("encoding", 2, 3)]
    phases()("anything", 1, 2)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_request_a_stop_and_only_a_second_ctrl_c_breaks_off(name: str) -> None:
    number, stop = getattr(signal, name), Stop()
    before = signal.getsignal(number)
    with stopping(stop):
        for _ in range(2):
            if name == "SIGINT" and stop.reason:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(number)
            else:
                signal.raise_signal(number)
    assert stop.reason == name
    assert signal.getsignal(number) == before


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with stopping(stop):
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.reason is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_old_logs_still_read(tmp_path: Path) -> None:
    old = {"time": 1.5, "event": "prior", "images": 0, "what": "outputs of the base for the prior", "done": 8, "of": 8}
    (tmp_path / "log.jsonl").write_text(json.dumps(old) + "\n" + '{"event": "end", "images": 16}\n{"event": "sa')
    assert [row["event"] for row in RunFolder(tmp_path).events()] == ["prior", "end"]
