"""Six drawings of one toy car, to try personalisation without photos."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw

FINE = 4  # drawn this many times larger and then reduced, for smooth edges
BODY, ROOF, GLASS, TYRE, HUB, LAMP = "#d81e5b", "#f4f1de", "#8ecae6", "#222222", "#ffd166", "#fff3b0"
Point = tuple[float, float]


@dataclass(frozen=True)
class View:
    """The background; the car's width and middle (right, down) as shares of the picture's; whether it faces left."""

    background: str
    width: float
    middle: Point
    left: bool = False


VIEWS = (
    View("#f8f8f8", 0.72, (0.5, 0.52)),
    View("#285ad2", 0.5, (0.36, 0.6), True),
    View("#288c46", 0.86, (0.5, 0.5)),
    View("#fae146", 0.6, (0.6, 0.44)),
    View("#848484", 0.78, (0.48, 0.56), True),
    View("#faa5c8", 0.55, (0.55, 0.62)),
)


def draw(view: View, side: int = 128) -> Image.Image:
    """The car in a view, RGB (side x side)."""
    canvas = Image.new("RGB", (side * FINE, side * FINE), view.background)
    pen = ImageDraw.Draw(canvas)
    unit = view.width * side * FINE
    right, down = (each * side * FINE for each in view.middle)

    def at(x: float, y: float) -> Point:
        """From coordinates of the car (width 1, middle at 0) to those of the canvas."""
        return right + (-x if view.left else x) * unit, down + y * unit

    def polygon(points: list[Point], colour: str) -> None:
        pen.polygon([at(*point) for point in points], colour)

    def disc(x: float, y: float, radius: float, colour: str) -> None:
        (cx, cy), r = at(x, y), radius * unit
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), colour)

    polygon([(-0.3, -0.06), (-0.18, -0.28), (0.12, -0.28), (0.26, -0.06)], ROOF)
    polygon([(-0.24, -0.07), (-0.15, -0.24), (-0.04, -0.24), (-0.04, -0.07)], GLASS)
    polygon([(0.0, -0.07), (0.0, -0.24), (0.1, -0.24), (0.2, -0.07)], GLASS)
    polygon([(-0.5, 0.16), (-0.48, -0.06), (0.3, -0.08), (0.47, 0.0), (0.5, 0.16)], BODY)
    polygon([(-0.49, 0.06), (-0.485, 0.0), (0.475, 0.03), (0.49, 0.08)], HUB)
    disc(0.45, 0.05, 0.045, LAMP)
    for x in (-0.28, 0.28):
        disc(x, 0.17, 0.13, TYRE)
        disc(x, 0.17, 0.06, HUB)
    return canvas.resize((side, side), Image.Resampling.LANCZOS)
