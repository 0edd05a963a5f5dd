"""Quiet plots as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Okabe and Ito's palette, told apart by everybody."""

Points = Sequence[tuple[float, float]]
Intervals = Sequence[tuple[float, float, float]]


def lines(
    series: Mapping[str, Points],
    xlabel: str,
    ylabel: str,
    *,
    logx: bool = False,
    logy: bool = False,
    bands: Mapping[str, Intervals] | None = None,
    levels: Mapping[str, float] | None = None,
) -> bytes:
    """Named series of (x, y); bands: (x, low, high) behind the series of the same name; levels: named dashed heights.

    Values that are not finite are left out; an empty plot says so.
    """
    figure = Figure(figsize=(7.2, 3.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    drawn = 0
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        kept = [(x, y) for x, y in points if _shown(x, logx) and _shown(y, logy)]
        if not kept:
            continue
        drawn += 1
        marker = "o" if len(kept) < 20 else ""
        xs, ys = zip(*kept, strict=True)
        axes.plot(xs, ys, color=colour, label=name, linewidth=1.6, marker=marker, markersize=4)
        band = [(x, a, b) for x, a, b in (bands or {}).get(name, ()) if _shown(a, logy) and _shown(b, logy)]
        if band:
            xs, low, high = zip(*band, strict=True)
            axes.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)
    for name, height in (levels or {}).items():
        axes.axhline(height, color=COLOURS[-1], linewidth=1, linestyle="--", label=name)
    if not drawn:
        axes.text(0.5, 0.5, "nothing measured yet", ha="center", va="center", transform=axes.transAxes)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if logx and drawn:
        axes.set_xscale("log")
    if logy and drawn:
        axes.set_yscale("log")
    if drawn + len(levels or {}) > 1:
        axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.tick_params(labelsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor="white")
    return out.getvalue()


def curves(events: Sequence[Mapping[str, Any]]) -> bytes:
    """Training loss and held-out loss per noise band over images seen, from the rows of log.jsonl."""
    series: dict[str, list[tuple[float, float]]] = {"training": _smooth(events)}
    for event in events:
        if event.get("event") == "held_out":
            series.setdefault("held out", []).append((event["images"], event["loss"]))
            for band in event.get("bands", ()):
                name = f"held out, sigma {band['low']:.2g} to {band['high']:.2g}"
                series.setdefault(name, []).append((event["images"], band["loss"]))
    return lines(series, "images seen", "loss", logy=True)


def _smooth(events: Sequence[Mapping[str, Any]], points: int = 200) -> list[tuple[float, float]]:
    """The reported training loss, averaged into at most `points` equal pieces."""
    rows = [(e["images"], e["loss"]) for e in events if e.get("event") == "report" and e.get("loss") is not None]
    size = max(1, len(rows) // points)
    pieces = [rows[k : k + size] for k in range(0, len(rows), size)]
    return [(piece[-1][0], sum(loss for _, loss in piece) / len(piece)) for piece in pieces]


def _shown(value: float, log: bool) -> bool:
    return value == value and abs(value) != float("inf") and (value > 0 or not log)
