"""Plots as PNG bytes, in colours that people with colour blindness can distinguish too."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, ScalarFormatter

from sfumato.files import Facts

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Okabe and Ito's palette (2008), for series without an order."""
RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#d4b600")
"""Steps of viridis, dark to light, for series with an order."""
BACKGROUND, TEXT, MUTED, LINE = "#ffffff", "#2b2a26", "#6d6a60", "#e6e3da"
WIDTH, HEIGHT, DPI = 8.0, 4.0, 160

Points = Sequence[tuple[float, float]]
Intervals = Sequence[tuple[float, float, float]]
Events = Sequence[Facts]


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
    """Named series of (x, y) as a PNG.

    bands: (x, low, high), shaded in the colour of the series of the same name. levels: named dashed heights.
    Values that are not finite, or not positive on a logarithmic axis, leave a gap; an empty plot has a note.
    """
    figure = _figure()
    axes = figure.subplots()
    drawn = 0
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        drawn += _line(axes, name, points, colour, logx, logy)
        band = [(x, a, b) for x, a, b in (bands or {}).get(name, ()) if _shown(x, logx) and _shown(b, logy)]
        if band:
            floor = min(high for *_, high in band) / 10
            low = [a if _shown(a, logy) else floor for _, a, _ in band]
            axes.fill_between(
                [x for x, _, _ in band], low, [b for *_, b in band], color=colour, alpha=0.15, linewidth=0
            )
    for name, height in (levels or {}).items():
        if _shown(height, logy):
            axes.axhline(height, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label=name, zorder=1)
    _finish(axes, xlabel, ylabel, drawn, logx, logy)
    return _png(figure)


def bars(
    values: Mapping[str, float | tuple[float, float, float]],
    xlabel: str,
    *,
    levels: Mapping[str, float] | None = None,
) -> bytes:
    """Named values as horizontal bars with numbers beside them, the first on top, as a PNG.

    A value is a number or (value, low, high), drawn with its interval. levels: named dashed heights, such as a
    floor. A value that is not finite is written as "not measured".
    """
    figure = _figure(1.1 + 0.42 * max(len(values), 1) + (0.3 if levels else 0))
    axes = figure.subplots()
    triples = [value if isinstance(value, tuple) else (value, value, value) for value in values.values()]
    ends = [max(part for part in triple if math.isfinite(part)) for triple in triples if math.isfinite(triple[0])]
    for place, (value, low, high) in enumerate(triples):
        if not math.isfinite(value):
            axes.text(0, place, " not measured", va="center", color=MUTED, fontsize=9)
            continue
        axes.barh(place, value, height=0.62, color=COLOURS[0], alpha=0.85, zorder=2)
        end = value
        if low < high and math.isfinite(low) and math.isfinite(high):
            axes.plot([low, high], [place, place], color=TEXT, linewidth=1.4, solid_capstyle="butt", zorder=3)
            end = max(value, high)
        axes.annotate(
            f"{value:.4g}", (end, place), (5, 0), textcoords="offset points", va="center", color=TEXT, fontsize=9
        )
    for name, height in (levels or {}).items():
        if math.isfinite(height):
            axes.axvline(height, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label=name, zorder=4)
    _finish(axes, xlabel, "", len(ends), False, False)
    axes.set_yticks(range(len(values)), [_short(name) for name in values], fontsize=9.5, color=TEXT)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_visible(True)
    if ends and max(ends) > 0:
        axes.set_xlim(right=max([*ends, *(levels or {}).values()]) * 1.12)
    return _png(figure)


def curves(events: Events) -> bytes:
    """The curves of a training as a PNG: on the left training and validation loss over images seen, on the right the
    validation loss of each noise band (sigma on the [-1, 1] scale).

    events: the rows of log.jsonl. Steps that were repeated after a resume or rollback are shown once, as in their last
    repetition; a loss that is not a number leaves a gap, and rollbacks are marked.
    """
    rows = _last_time(events)
    training = _smooth([(e["images"], _number(e.get("loss"))) for e in rows if e.get("event") == "report"])
    held = [{**e, "bands": e.get("bands") or ()} for e in rows if e.get("event") == "held_out"]
    bands: list[tuple[str, list[tuple[float, float]]]] = []
    for number, band in enumerate(held[-1]["bands"] if held else ()):
        losses = [(e["images"], _number(e["bands"][number].get("loss"))) for e in held if len(e["bands"]) > number]
        bands.append((f"sigma {band['low']:.2g} to {band['high']:.2g}", losses))
    figure = _figure()
    left, *right = figure.subplots(1, 2) if bands else [figure.subplots()]
    drawn = _line(left, "training", training, COLOURS[0], logy=True)
    drawn += _line(left, "held out", [(e["images"], _number(e.get("loss"))) for e in held], COLOURS[1], logy=True)
    for event in rows:
        if event.get("event") == "rollback":
            left.axvline(event["images"], color=COLOURS[3], linewidth=1, linestyle=":", zorder=1)
    _finish(left, "images seen", "loss", drawn, logy=True)
    for axes in right:
        drawn = 0
        for number, (name, points) in enumerate(bands):
            colour = RAMP[round(number * (len(RAMP) - 1) / max(1, len(bands) - 1))]
            drawn += _line(axes, name, points, colour, logy=True)
        _finish(axes, "images seen", "held-out loss by noise", drawn, logy=True)
    return _png(figure)


def _last_time(events: Events) -> list[Facts]:
    """The rows without those that a later start or rollback to fewer images replaced."""
    rows: list[Facts] = []
    for event in events:
        if not isinstance(event.get("images"), (int, float)):
            continue
        if event.get("event") in ("start", "rollback"):
            rows = [row for row in rows if row["images"] <= event["images"]]
        rows.append(event)
    return rows


def _smooth(points: Points, most: int = 150) -> list[tuple[float, float]]:
    """At most about `most` points, each the mean of the finite values of its neighbours in equal pieces."""
    size = math.ceil(len(points) / most) or 1
    pieces = [points[k : k + size] for k in range(0, len(points), size)]
    means = []
    for piece in pieces:
        finite = [y for _, y in piece if math.isfinite(y)]
        means.append((piece[len(piece) // 2][0], sum(finite) / len(finite) if finite else math.nan))
    return means


def _line(axes: Axes, name: str, points: Points, colour: str, logx: bool = False, logy: bool = False) -> int:
    """Draw one series with gaps where a value cannot be shown; 1 if there was anything to draw, else 0."""
    points = [(x, y if _shown(y, logy) else math.nan) for x, y in points if _shown(x, logx)]
    shown = sum(not math.isnan(y) for _, y in points)
    if shown:
        marker = "o" if shown < 25 else ""
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, color=colour, label=_short(name), linewidth=1.7, zorder=2, marker=marker, markersize=4)
    return int(shown > 0)


def _figure(height: float = HEIGHT) -> Figure:
    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor=BACKGROUND)


def _finish(axes: Axes, xlabel: str, ylabel: str, drawn: int, logx: bool = False, logy: bool = False) -> None:
    """Scales, labels, frame and legend."""
    axes.set_facecolor(BACKGROUND)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color("#b9b5a9")
    axes.tick_params(length=0, labelsize=9, labelcolor=MUTED, which="both")
    if not drawn:
        axes.text(0.5, 0.5, "nothing measured yet", ha="center", va="center", color=MUTED, transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        axes.spines["bottom"].set_visible(False)
        return
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_xlabel(xlabel, fontsize=9.5, color=MUTED)
    axes.set_ylabel(ylabel, fontsize=9.5, color=MUTED)
    for log, axis, scale, ends in (
        (logx, axes.xaxis, axes.set_xscale, axes.get_xlim),
        (logy, axes.yaxis, axes.set_yscale, axes.get_ylim),
    ):
        if log:
            scale("log")
            low, high = ends()
            fine, finer = (1.0, 2.0, 5.0), (1.0, 2.0, 3.0, 5.0, 7.0)
            subs = (1.0,) if high > 500 * low else fine if high > 8 * low else finer
            axis.set_major_locator(LogLocator(subs=subs, numticks=20))
            axis.set_minor_formatter(NullFormatter())
            if low > 1e-3 and high < 1e5:
                plain = ScalarFormatter()
                plain.set_scientific(False)
                axis.set_major_formatter(plain)
    if not logx and axes.get_xlim()[1] >= 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 20k, 1.5M
    names = axes.get_legend_handles_labels()[1]
    if len(names) > 1 or (names and not ylabel):
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2 if len(names) > 3 else max(1, len(names)),
            frameon=False, fontsize=9, labelcolor=TEXT, handlelength=1.4, borderaxespad=0.2, columnspacing=1.4,
        )  # fmt: skip


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _short(name: str, longest: int = 48) -> str:
    """A name for matplotlib: not too long, `$` and a leading `_` without their special meaning."""
    plain = " ".join(name.split()).replace("$", r"\$")
    plain = plain if len(plain) <= longest else plain[: longest - 1] + "…"
    return plain.replace("_", "\u2009_", 1) if plain.startswith("_") else plain


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _shown(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)
