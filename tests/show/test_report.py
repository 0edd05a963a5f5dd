"""Pages are whole, escaped and safe."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfumato.errors import UserError
from sfumato.show.report import Fact, Page, Picture, Section, Table, _cell, _right, write_page

HOSTILE = "</title></style><script>alert('x')</script><img src=x onerror=\"go()\"> {{ 7*7 }} {% raw %} & \"'`"


class Reader(HTMLParser):
    """Collects tags, attributes and text, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def picture(side: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def encoded(kind: str) -> bytes:
    out = io.BytesIO()
    picture().save(out, format=kind)
    return out.getvalue()


def whole(text: str) -> Page:
    section = Section(
        text, [text, text], [Fact(text, text, text)], [Picture(picture(), text, text, True)],
        [Table([text, "n"], [[text, 3], [text, None]], text)], [text, "second"], text, "bad",
    )  # fmt: skip
    return Page(text, text, text, "good", [section] * 4)


def test_hostile_texts_are_shown_and_not_run(tmp_path: Path) -> None:
    html = write_page(tmp_path / "page.html", whole(HOSTILE)).read_text(encoding="utf-8")
    plain = Reader(write_page(tmp_path / "plain.html", whole("plain")).read_text(encoding="utf-8"))
    read = Reader(html)
    assert [tag for tag, _ in read.tags] == [tag for tag, _ in plain.tags], "no tag came out of the text"
    assert not any(tag == "script" or any(name.startswith("on") for name in attrs) for tag, attrs in read.tags)
    assert read.open == []
    assert read.words.count(HOSTILE) >= 4 * 8
    assert all(attrs["alt"] == HOSTILE for tag, attrs in read.tags if tag == "img")


def test_nothing_is_fetched_and_no_script_is_needed(tmp_path: Path) -> None:
    html = write_page(tmp_path / "page.html", whole("plain")).read_text(encoding="utf-8")
    read = Reader(html)
    for _, attrs in read.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attrs.get(name) or "#").startswith(("data:image/", "#"))
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    assert {"script", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in read.tags)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_pictures_are_inside_byte_for_byte(tmp_path: Path) -> None:
    file = tmp_path / "a.gif"
    file.write_bytes(encoded("GIF"))
    given: list[Image.Image | bytes | Path] = [encoded("PNG"), file, encoded("JPEG"), encoded("WEBP"), picture()]
    page = Page("t", "l", sections=[Section("s", pictures=[Picture(each, "alt") for each in given])])
    read = Reader(write_page(tmp_path / "page.html", page).read_text(encoding="utf-8"))
    sources = [str(attrs["src"]) for tag, attrs in read.tags if tag == "img"]
    kinds, contents = zip(*(source.removeprefix("data:image/").split(";base64,") for source in sources), strict=True)
    assert kinds == ("png", "gif", "jpeg", "webp", "png")
    decoded = [base64.b64decode(content) for content in contents]
    assert decoded[:4] == [encoded("PNG"), file.read_bytes(), encoded("JPEG"), encoded("WEBP")]
    with Image.open(io.BytesIO(decoded[4])) as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(picture()))


def test_small_pictures_are_enlarged_with_square_pixels(tmp_path: Path) -> None:
    pictures = [Picture(picture(32), "a"), Picture(picture(400), "b"), Picture(picture(400), "c", crisp=True)]
    page = Page("t", "l", sections=[Section("s", pictures=pictures)])
    read = Reader(write_page(tmp_path / "page.html", page).read_text(encoding="utf-8"))
    images = [attrs for tag, attrs in read.tags if tag == "img"]
    assert [attrs["width"] for attrs in images] == ["256", "400", "400"]
    assert [attrs.get("class") for attrs in images] == ["crisp", None, "crisp"]


@pytest.mark.parametrize("content", [b"", b"<svg onload='x()'/>", b"GIF89a", b"BM" + bytes(60)])
def test_what_is_no_picture_is_one_line_and_leaves_the_old_page(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    (tmp_path / "a.png").write_bytes(content)
    for image, name in ((tmp_path / "a.png", "a.png"), (content, "alt"), (tmp_path / "gone.png", "gone.png")):
        with pytest.raises(UserError, match=name) as caught:
            write_page(path, Page("t", "l", sections=[Section("s", pictures=[Picture(image, "alt")])]))
        assert "\n" not in str(caught.value)
    assert path.read_text() == "old"


def test_figures_are_set_to_the_right_and_words_are_not() -> None:
    table = Table(
        ["a", "b", "c", "d", "e", "f"],
        [["x", 1, "8.1 (7 to 9)", "4 steps and more", "–", "95 %"], ["2", None, "0.3 ± 0.1", 3, "", "1.9 ms"]],
    )
    assert _right(table) == [False, True, True, False, False, True]
    shown = [_cell(v) for v in (12345, 0.123456, float("nan"), float("inf"), None, "x", 3.0)]
    assert shown == ["12,345", "0.1235", "–", "–", "–", "x", "3"]


def test_texts_with_lone_surrogates_and_empty_pages(tmp_path: Path) -> None:
    html = write_page(tmp_path / "a.html", Page("caf\udce9", "")).read_text(encoding="utf-8")
    assert "<h1>caf" in html
    assert Reader(write_page(tmp_path / "b.html", Page("", "", sections=[Section("")])).read_text("utf-8")).open == []
