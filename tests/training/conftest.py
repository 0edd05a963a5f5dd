from __future__ import annotations

import subprocess
import sys

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


def run(words: list[str], env: dict[str, str], timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env=env, timeout=timeout, capture_output=True, text=True, check=False)
