"""One self-contained HTML page: pictures, figures, tables and words, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal

from jinja2 import Environment
from PIL import Image

from sfumato.files import write_text

Tone = Literal["good", "unclear", "bad"]


@dataclass(frozen=True)
class Picture:
    """An image, PNG or GIF bytes, or a file of either; `crisp` keeps enlarged pixels square."""

    image: Image.Image | bytes | Path
    alt: str
    caption: str = ""
    crisp: bool = False

    @property
    def source(self) -> str:
        """The picture as a data URL."""
        if isinstance(self.image, Image.Image):
            out = io.BytesIO()
            self.image.save(out, format="PNG")
            content = out.getvalue()
        else:
            content = self.image.read_bytes() if isinstance(self.image, Path) else self.image
        kind = "gif" if content.startswith(b"GIF8") else "png"
        return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True)
class Fact:
    """A figure that matters: its value, what it is, and what to make of it."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    header: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]


@dataclass(frozen=True)
class Section:
    """A part of a page, in the order in which it is shown."""

    heading: str
    prose: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    code: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """title, lead: what the page is about in a sentence or two; verdict: the conclusion in words, and its tone."""

    title: str
    lead: str
    verdict: str = ""
    tone: Tone = "unclear"
    sections: Sequence[Section] = field(default_factory=tuple)


def write_page(path: Path, page: Page) -> Path:
    """Write a page in one step. Text is escaped; pictures are inside."""
    template = (resources.files("sfumato") / "show" / "report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = _figure
    environment.tests["figure"] = lambda value: isinstance(value, (int, float))
    write_text(path, environment.from_string(template).render(page=page))
    return path


def _figure(value: str | float) -> str:
    """Numbers for a table: whole ones with thousands apart, others to four digits."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
