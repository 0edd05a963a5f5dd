"""Films read back as what was shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sfumato.show.film import FRAMES_PER_SECOND, evenly, frame, gif, strip
from sfumato.show.grid import BACKGROUND, GAP, grid


def fade(count: int, n: int = 4, c: int = 3, side: int = 16) -> list[torch.Tensor]:
    """Noise that becomes a few flat colours."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, c, side, side, generator=generator)
    flat = torch.linspace(-0.8, 0.8, n * c).view(n, c, 1, 1).expand_as(noise)
    return [frame(flat + s * noise, 1, s) for s in torch.linspace(4, 0, count).tolist()]


@pytest.mark.parametrize("c", [1, 3])
def test_gif_frames_read_back(tmp_path: Path, c: int) -> None:
    frames = fade(8, c=c)
    gif(frames, tmp_path / "film.gif", [f"sigma {k}" for k in range(8)], seconds=2, hold=1.5)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 8
        assert film.info["loop"] == 0
        durations, shown = [], []
        for k in range(8):
            film.seek(k)
            durations.append(film.info["duration"])
            shown.append(np.asarray(film.convert("RGB")).astype(float))
    assert durations == [250] * 7 + [1750]
    for k, seen in enumerate(shown):
        true = np.asarray(grid(frames[k]).convert("RGB")).astype(float)
        part, caption = seen[: len(true)], seen[len(true) :]
        assert np.sqrt(np.mean((part - true) ** 2)) < 16, "noise keeps its grain"
        assert (part[:GAP] == BACKGROUND).all()
        assert caption.min() < 128
        assert caption.max() == BACKGROUND
    np.testing.assert_allclose(shown[-1][: len(true)], true, atol=3)  # few colours: all but exact


def test_a_long_process_is_thinned_out_and_ends_where_it_ends(tmp_path: Path) -> None:
    frames = [np.full((1, 1, 8, 8), k, np.uint8) for k in range(250)]
    gif(frames, tmp_path / "film.gif", seconds=2, hold=0)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 2 * FRAMES_PER_SECOND
        ends = []
        for k in (0, film.n_frames - 1):
            film.seek(k)
            ends.append(film.convert("L").getpixel((GAP, GAP)))
    assert ends == [0, 249]


@pytest.mark.slow
def test_a_film_of_photos_stays_small(tmp_path: Path) -> None:
    gif(fade(60, n=16, side=32), tmp_path / "film.gif")
    assert (tmp_path / "film.gif").stat().st_size < 5e6


def test_strip_has_a_row_a_picture_and_a_column_a_stage(tmp_path: Path) -> None:
    frames = fade(41, n=3, side=32)
    strip(frames, tmp_path / "strip.png", columns=10, captions=[f"sigma {k}" for k in range(41)])
    with Image.open(tmp_path / "strip.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape[1] == GAP + 10 * (96 + GAP)
    assert 3 * (96 + GAP) < pixels.shape[0] < 3 * (96 + GAP) + 60
    corner = pixels[-GAP - 96 : -GAP, -GAP - 96 : -GAP]
    np.testing.assert_array_equal(corner[1::3, 1::3], frames[-1][2].permute(1, 2, 0).numpy())
    first = pixels[-GAP - 96 : -GAP, GAP : GAP + 96]
    np.testing.assert_array_equal(first[1::3, 1::3], frames[0][2].permute(1, 2, 0).numpy())


def test_a_short_strip_has_fewer_columns(tmp_path: Path) -> None:
    strip(fade(3, n=1, side=32), tmp_path / "strip.png")
    with Image.open(tmp_path / "strip.png") as image:
        assert image.size == (GAP + 3 * (96 + GAP), GAP + 96 + GAP)


def test_wrong_numbers_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    for write in (gif, strip):
        with pytest.raises(ValueError, match="captions"):
            write(fade(3), tmp_path / "a", captions=["one"])
        with pytest.raises(ValueError, match="at least one"):
            write([], tmp_path / "a")
    assert not list(tmp_path.iterdir())


@given(st.integers(1, 400), st.integers(1, 60))
def test_evenly(count: int, wanted: int) -> None:
    kept = evenly(count, wanted)
    assert kept == sorted(set(kept))
    assert len(kept) == min(count, wanted)
    assert kept[-1] == count - 1
    assert wanted == 1 or kept[0] == 0
    steps = np.diff(kept)
    assert len(steps) == 0 or steps.max() - steps.min() <= 1


def test_frame_shows_a_clean_picture_as_it_is_and_noise_at_the_pictures_spread() -> None:
    x0 = torch.linspace(-1, 1, 256).view(1, 1, 16, 16)
    assert torch.equal(frame(x0, 1, 0).flatten(), torch.arange(256, dtype=torch.uint8))
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    spreads = [frame(sigma * noise, alpha, sigma).float().std().item() / 127.5 for alpha, sigma in ((1, 80), (0, 1))]
    assert spreads == pytest.approx([0.48, 0.48], abs=0.03)  # sigma_data 0.5, a little of it clamped
