"""One process x 64 = two x 32 = accumulation 4 x 16."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from sfumato.runs.checkpoint import listing
from sfumato.runs.folder import RunFolder

from .conftest import SMALL, command, run

TWENTY = (*SMALL, "train.batch=64", "train.precision=fp64", "train.images=1280", "train.warmup=128")


def launched(processes: int, *words: object) -> list[str]:
    """By torchrun, on a port that is free."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", processes]
    return [*map(str, start), "-m", "sfumato", *map(str, words)]


@pytest.mark.slow
def test_splitting_the_batch_changes_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    ways = {
        "whole": command("train", "shapes", *TWENTY, "--out", tmp_path / "whole"),
        "accumulated": command("train", "shapes", *TWENTY, "train.accumulate=4", "--out", tmp_path / "accumulated"),
        "processes": launched(2, "train", "shapes", *TWENTY, "--out", tmp_path / "processes"),
    }
    ends = {}
    for name, words in ways.items():
        done = run(words, environment)
        assert done.returncode == 0, done.stderr
        ends[name] = load_file(listing(tmp_path / name / "checkpoints")[-1] / "model.safetensors")
        world = RunFolder(tmp_path / name).events("start")[0]["processes"]
        assert world == (2 if name == "processes" else 1)
    for name in ("accumulated", "processes"):
        for key, value in ends["whole"].items():
            assert (ends[name][key] - value).abs().max() < 1e-9, (name, key)
