"""A tuning that is killed at any moment, also while it chooses and writes, ends in the same bytes."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path

import pytest

from sfumato.models.sd import pipeline as pipelines
from sfumato.runs.folder import RunFolder

from ..training.conftest import command, run
from .conftest import base
from .test_photos import scene

ALONE_SECONDS = 50
FILES = ("adapter_model.safetensors", "adapter_config.json")


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_ten_kills_change_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    pipe = pipelines.write(base(), tmp_path / "base", half=False)
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(6):
        scene(k, (40, 40)).save(photos / f"{k}.png")

    def words(out: str, *more: str) -> list[str]:
        given = ["train.save_seconds=2", "train.images=100000", *more]
        return command(
            "tune", photos, *given, "--noun", "car", "--trigger", "zarnu", "--base", pipe, "--out", tmp_path / out
        )

    began = time.monotonic()
    pace = run([*words("pace"), "--dry-run", "--json"], environment, 200)
    assert pace.returncode == 0, pace.stderr
    opening = time.monotonic() - began
    rate = json.loads(pace.stdout)["estimate"]["images_per_second"]
    length = f"train.images={max(400, int(rate * ALONE_SECONDS)) // 4 * 4}"
    done = run(words("alone", length), environment, 900)
    assert done.returncode == 0, done.stderr
    dice = random.Random(0)
    kills = 0
    for _ in range(10):
        process = subprocess.Popen(
            words("killed", length), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(dice.uniform(0.7 * opening, opening + 9))
        except subprocess.TimeoutExpired:
            kills += 1
            process.kill()
            process.wait()
            time.sleep(0.05)
    assert kills >= 6
    done = run(words("killed", length), environment, 900)
    assert done.returncode == 0, done.stderr
    assert len(RunFolder(tmp_path / "killed").events("start")) >= 4
    for file in FILES:
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes(), file
    assert not list((tmp_path / "killed").rglob("*.part"))
