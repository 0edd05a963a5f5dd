"""GIFs at their ends: one frame, frames that stand still, frames whose colours have nothing in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from sfumato.show.film import gif, strip
from sfumato.show.grid import grid


def read(path: Path) -> tuple[list[np.ndarray], list[int]]:
    frames, durations = [], []
    with Image.open(path) as image:
        for shown in ImageSequence.Iterator(image):
            frames.append(np.asarray(shown.convert("RGB")).astype(int))
            durations.append(shown.info["duration"])
    return frames, durations


@pytest.mark.parametrize("c", [1, 3])
def test_one_frame(tmp_path: Path, c: int) -> None:
    picture = torch.full((1, c, 8, 8), 77, dtype=torch.uint8)
    gif([picture], tmp_path / "f.gif", ["alone"])
    frames, _ = read(tmp_path / "f.gif")
    assert len(frames) == 1
    assert np.abs(frames[0][: frames[0].shape[0] // 2, 10:-10][10:] - 77).max() <= 1
    strip([picture], tmp_path / "f.png", captions=["alone"])
    with Image.open(tmp_path / "f.png") as image:
        assert image.format == "PNG"


def test_frames_that_do_not_move_keep_their_time(tmp_path: Path) -> None:
    picture = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8)
    gif([picture] * 5, tmp_path / "f.gif", seconds=1, hold=1)
    assert sum(read(tmp_path / "f.gif")[1]) == 2000


def test_few_colours_come_back_and_nothing_of_the_frame_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (5, 12, 3), dtype=np.uint8)
    process = [palette[rng.integers(0, 12, (4, 16, 16))].transpose(0, 3, 1, 2) for palette in colours]
    gif(process, tmp_path / "f.gif", scale=2)
    for found, wanted in zip(read(tmp_path / "f.gif")[0], process, strict=True):
        assert np.abs(found - np.asarray(grid(np.ascontiguousarray(wanted), scale=2)).astype(int)).max() <= 1
