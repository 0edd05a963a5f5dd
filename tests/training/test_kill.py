"""A run that is killed again and again ends as one left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sfumato.runs.checkpoint import listing
from sfumato.runs.folder import RunFolder

from .conftest import SMALL, command, run

ALONE_SECONDS = 45


def train_command(folder: Path, images: int) -> list[str]:
    return command("train", "shapes", *SMALL, f"train.images={images}", "train.save_seconds=2", "--out", folder)


def weights(folder: Path) -> dict[str, bytes]:
    last = listing(folder / "checkpoints")[-1]
    return {p.name: p.read_bytes() for p in sorted(last.glob("*.safetensors"))}


def parts(folder: Path) -> list[Path]:
    where = folder / "checkpoints"
    return [p for p in where.iterdir() if p.name.endswith(".part")] if where.is_dir() else []


def enough_images(folder: Path, env: dict[str, str]) -> int:
    """As many as this machine trains on in about ALONE_SECONDS, saves included."""
    done = run(train_command(folder, 3200), env, 300)
    assert done.returncode == 0, done.stderr
    start = RunFolder(folder).events("start")[0]["time"]
    end = RunFolder(folder).events("end")[0]["time"]
    return max(3200, int(3200 / (end - start) * ALONE_SECONDS) // 16 * 16)


def killed(folder: Path, images: int, env: dict[str, str], in_save: bool, delay: float) -> bool:
    """Start the run, kill it `delay` seconds after it has begun (or in its next save); True if a save was cut."""
    starts = len(RunFolder(folder).events("start"))
    process = subprocess.Popen(
        train_command(folder, images), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while len(RunFolder(folder).events("start")) == starts:
        assert process.poll() is None, "ended before it began"
        time.sleep(0.02)
    until = time.monotonic() + delay
    while process.poll() is None:
        if in_save and parts(folder):
            break
        if not in_save and time.monotonic() > until:
            break
        time.sleep(0.0005 if in_save else 0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return bool(parts(folder))


def twenty_kills(folder: Path, images: int, env: dict[str, str]) -> int | None:
    """How many of the twenty cut a save; None if the run ended before the last of them."""
    dice = random.Random(0)
    cut = 0
    for k in range(20):
        cut += killed(folder, images, env, in_save=k % 2 == 1, delay=dice.uniform(0.1, 4.5))
        if (ended := RunFolder(folder).events("end")) and ended[-1]["stopped"] is None:
            return None
    return cut


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_twenty_kills_change_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    images = enough_images(tmp_path / "pace", environment)
    folder = tmp_path / "killed"
    while (cut := twenty_kills(folder, images, environment)) is None:  # the machine has become faster
        images, folder = 2 * images, tmp_path / f"killed-{images}"
    done = run(train_command(folder, images), environment, 900)
    assert done.returncode == 0, done.stderr
    alone = tmp_path / "alone"
    done = run(train_command(alone, images), environment, 900)
    assert done.returncode == 0, done.stderr
    starts = [event["images"] for event in RunFolder(folder).events("start")]
    assert len(starts) == 21
    assert sum(images > 0 for images in starts[1:]) >= 15
    assert cut >= 5
    assert weights(folder) == weights(alone)
    assert not parts(folder)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_the_same_command_goes_on(tmp_path: Path, environment: dict[str, str], number: int) -> None:
    folder = tmp_path / "run"
    words = train_command(folder, 100_000)
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not RunFolder(folder).events("report"):
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.1)
    os.kill(process.pid, number)
    assert process.wait(60) == 3
    saved = listing(folder / "checkpoints")[-1]
    end = RunFolder(folder).events("end")[-1]
    assert end["stopped"] == signal.Signals(number).name
    assert int(saved.name) == end["images"] > 0
    done = run([*words[:-2], f"train.images={end['images'] + 32}", *words[-2:]], environment)
    assert done.returncode == 0, done.stderr
    assert RunFolder(folder).events("start")[-1]["images"] == end["images"]
