from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = (
    "net.channels=[16,32]",
    "net.attention=[false,true]",
    "net.blocks=1",
    "train.batch=16",
    "train.precision=fp32",
    "sample.steps=2",
)
"""A network that trains in seconds."""


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "sfumato", *map(str, words)]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One thread, so that equal work gives equal bits, and no network."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "SFUMATO_CACHE": os.environ["SFUMATO_CACHE"],
    }


def run(words: list[str], env: dict[str, str], timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env=env, timeout=timeout, capture_output=True, text=True, check=False)
