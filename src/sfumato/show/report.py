"""A self-contained HTML page of texts, figures, tables and pictures, without external resources."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal

from jinja2 import Environment, StrictUndefined
from PIL import Image

from sfumato.errors import UserError
from sfumato.files import write_text
from sfumato.version import __version__

Tone = Literal["good", "unclear", "bad"]
KINDS = {"PNG": "png", "GIF": "gif", "JPEG": "jpeg", "WEBP": "webp"}
SMALL = 240
"""Pixels: a narrower picture is enlarged by an integer factor, to about this width."""
FIGURE = re.compile(r"[-+±~<>≤≥×]?\s?\d[\d.,]*(e[-+]?\d+)?(\s?[%×]|\s[\w/²]{1,10})?(\s?(±|\().*)?")


@dataclass(frozen=True)
class Picture:
    """An image, or PNG, GIF, JPEG or WebP as bytes or a file.

    alt: a description for people who cannot see it; crisp: keep enlarged pixels square, as is done for every
    picture narrower than SMALL.
    """

    image: Image.Image | bytes | Path
    alt: str
    caption: str = ""
    crisp: bool = False


@dataclass(frozen=True)
class Fact:
    """A figure: its value, what it measures, and how to read it."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows as long as the header. Columns of numbers are aligned right; None and NaN are shown as a dash."""

    header: Sequence[str]
    rows: Sequence[Sequence[str | int | float | None]]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page, shown in the order verdict, prose, facts, tables, pictures, code.

    code: commands, one per line.
    """

    heading: str
    prose: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    code: Sequence[str] = ()
    verdict: str = ""
    tone: Tone = "unclear"


@dataclass(frozen=True)
class Page:
    """lead: the subject in a sentence or two; verdict: the conclusion in words; tone: of the verdict."""

    title: str
    lead: str
    verdict: str = ""
    tone: Tone = "unclear"
    sections: Sequence[Section] = field(default_factory=tuple)


def write_page(path: Path, page: Page) -> Path:
    """Write a page and return its path. Text is escaped; pictures are embedded.

    Raises UserError for a picture that is missing or cannot be shown.
    """
    template = (resources.files("sfumato") / "show" / "report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {"cell": _cell, "image": _image, "right": _right}
    html = environment.from_string(template).render(page=page, version=__version__)
    write_text(path, html.encode("utf-8", "replace").decode() + "\n")
    return path


@dataclass(frozen=True)
class _Image:
    source: str
    width: int
    height: int
    crisp: bool


def _image(picture: Picture) -> _Image:
    """The picture as a data URL, with its size on the page in CSS pixels."""
    image = picture.image
    if isinstance(image, Image.Image):
        out = io.BytesIO()
        image.save(out, format="PNG")
        content = out.getvalue()
    elif isinstance(image, Path):
        try:
            content = image.read_bytes()
        except OSError as error:
            raise UserError(
                f"{image}: the page cannot show this picture ({error.strerror}): create it again"
            ) from error
    else:
        content = image
    try:
        with Image.open(io.BytesIO(content), formats=list(KINDS)) as opened:
            kind, (width, height) = KINDS[str(opened.format)], opened.size
    except OSError as error:
        name = str(picture.image) if isinstance(picture.image, Path) else picture.alt
        raise UserError(f"{name}: a page shows PNG, GIF, JPEG and WebP, and this is none of them") from error
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    times = max(1, round(SMALL / width)) if width < SMALL else 1
    return _Image(source, width * times, height * times, picture.crisp or width < SMALL)


def _cell(value: str | float | None) -> str:
    """A cell as text: integers with separators of thousands, other numbers with four digits."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _right(table: Table) -> list[bool]:
    """Which columns are numeric: they have at least one number, and no other words than those for missing values."""
    columns = [[_cell(row[k]) for row in table.rows] for k in range(len(table.header))]
    return [
        any(FIGURE.fullmatch(cell) for cell in cells)
        and all(FIGURE.fullmatch(cell) or cell in ("", "–", "not known", "not measured") for cell in cells)
        for cells in columns
    ]
