"""Plots are drawn from whatever a log holds."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sfumato.show import plot


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def area(png: bytes, colour: str) -> int:
    """Pixels of exactly that colour."""
    wanted = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return int((pixels(png) == wanted).all(-1).sum())


def report(images: int, loss: float | None) -> dict[str, Any]:
    return {"event": "report", "images": images, "seconds": 1.0, "loss": loss, "grad_norm": 1.0, "skipped": 0}


def held_out(images: int, loss: float, *bands: float) -> dict[str, Any]:
    parts = [{"low": 10.0**k, "high": 10.0 ** (k + 1), "loss": part} for k, part in enumerate(bands)]
    return {"event": "held_out", "images": images, "loss": loss, "bands": parts}


FULL = [
    {"event": "start", "images": 0},
    *[report(k, 1000 / k) for k in range(1000, 40_000, 500)],
    *[held_out(k, 900 / k, 800 / k, 700 / k) for k in range(1000, 40_000, 9000)],
    {"event": "save", "images": 40_000, "path": "000040000"},
    {"event": "end", "images": 40_000, "seconds": 9.0},
]


@pytest.mark.parametrize(
    "events",
    [
        [], [report(64, 0.5)], [report(64, math.nan), report(128, math.inf)], [report(64, None)],
        [held_out(64, 0.4)], [held_out(64, math.nan, math.nan)], [{"event": "start"}, {}], [report(0, 0.0)],
        [{**held_out(64, 0.4), "bands": None}], [held_out(64, 0.4, 0.3), held_out(128, 0.4, 0.3, 0.2)],
        [{"event": "rollback", "images": 0}],
    ],
)  # fmt: skip
def test_any_log_gives_a_picture(events: list[dict[str, Any]]) -> None:
    assert pixels(plot.curves(events)).shape == (640, 1280, 3)


def test_an_empty_plot_differs_from_a_full_one_and_has_no_lines() -> None:
    assert area(plot.curves([]), plot.COLOURS[0]) == 0
    full = plot.curves(FULL)
    for colour in (plot.COLOURS[0], plot.COLOURS[1], plot.RAMP[0], plot.RAMP[-1]):
        assert area(full, colour) > 50


def test_one_report_is_seen() -> None:
    assert area(plot.curves([report(64, 0.5)]), plot.COLOURS[0]) > 10


def test_a_value_that_is_not_a_number_leaves_a_gap() -> None:
    whole = [report(k, 1.0) for k in range(100)]
    holed = [report(k, math.nan if 40 <= k < 60 else 1.0) for k in range(100)]
    ratio = area(plot.curves(holed), plot.COLOURS[0]) / area(plot.curves(whole), plot.COLOURS[0])
    assert 0.7 < ratio < 0.9


def test_what_a_resumed_run_did_over_is_shown_once() -> None:
    once = [{"event": "start", "images": 0}, *[report(k, 2.0 - k / 1000) for k in range(100, 1000, 100)]]
    lost = [*once[:6], report(550, 1.9), {"event": "start", "images": 500}, *once[6:]]
    np.testing.assert_array_equal(pixels(plot.curves(once)), pixels(plot.curves(lost)))


def test_a_rollback_is_marked() -> None:
    marked = [*FULL[:40], {"event": "rollback", "images": 15_000, "before": 20_000}, *FULL[40:]]
    assert area(plot.curves(marked), plot.COLOURS[3]) > 20


def test_lines_with_bands_levels_and_hostile_names() -> None:
    points = [(float(k), 1.0 / k) for k in range(1, 30)]
    png = plot.lines(
        {"$\\frac{": points, "_hidden": [(1, -1.0), (2, math.nan)], "": points},
        "x", "y", logx=True, logy=True,
        bands={"$\\frac{": [(x, y / 2 - 0.1, y * 2) for x, y in points]}, levels={"floor": 0.01, "none": math.nan},
    )  # fmt: skip
    assert pixels(png).shape == (640, 1280, 3)
    assert area(png, plot.COLOURS[0]) > 50
    assert area(plot.lines({}, "x", "y"), plot.COLOURS[0]) == 0


def test_bars_are_as_long_as_their_values() -> None:
    png = plot.bars({"a": 4.0, "b": (2.0, 1.5, 2.5), "c": math.nan}, "FD", levels={"floor": 1.0})
    seen = pixels(png)
    fill = seen[np.abs(seen.astype(int) - (0x26, 0x87, 0xBD)).max(-1) <= 3]
    assert len(fill) > 1000
    runs = (np.abs(seen.astype(int) - (0x26, 0x87, 0xBD)).max(-1) <= 3).sum(1)
    lengths = sorted({int(n) for n in runs if n > 50}, reverse=True)
    assert lengths[0] / np.median([n for n in lengths if n < 0.7 * lengths[0]]) == pytest.approx(2, rel=0.1)
    assert pixels(plot.bars({}, "FD")).shape[1] == 1280


def test_smoothing_keeps_the_mean() -> None:
    rows = [(k, float(k % 7)) for k in range(3000)]
    smooth = plot._smooth(rows)
    assert len(smooth) <= 150
    assert np.mean([y for _, y in smooth]) == pytest.approx(np.mean([y for _, y in rows]), abs=0.01)
