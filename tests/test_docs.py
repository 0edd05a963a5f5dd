"""The pages: their links lead somewhere, and their command lines are ones that sfumato parses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from sfumato.cli import USAGE, app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += [ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SFUMATO = re.compile(r"(?:^|&& |-m )sfumato ([a-z]+\b.*)")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OPTIONS = {flag for each in COMMANDS.values() for p in each.params for flag in (*p.opts, *p.secondary_opts)}
OTHERS = {"--help", "--version"}


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(page: Path, text: str) -> list[str]:
    """The relative links of a page to files or headings that do not exist."""
    missing = []
    for link in LINK.findall(FENCE.sub("", text)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" in link or link.startswith("mailto:"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            missing.append(link)
    return missing


def commands(text: str) -> Iterator[list[str]]:
    """The words after `sfumato` of each command line, in blocks and in running text."""
    blocks = [block for kind, block in FENCE.findall(text) if kind in ("", "bash", "sh", "console")]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [code.replace("\n", " ") for code in CODE.findall(FENCE.sub("", text))]
    for line in lines:
        if match := SFUMATO.search(line):
            words = shlex.split(match[1].split(" && ")[0], comments=True)
            yield words[: words.index(">")] if ">" in words else words


def trouble(words: list[str]) -> str:
    """What is wrong with a command line; "" if it parses. Only a command's name is always right."""
    if words[0] not in COMMANDS:
        return f"{words}: no such command"
    if len(words) == 1:
        return ""
    try:
        COMMANDS[words[0]].make_context(words[0], words[1:])
    except USAGE as error:
        return f"{words}: {error.format_message()}"
    return ""


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_and_headings(name: str) -> None:
    page = ROOT / name
    assert not broken(page, page.read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_command_lines_parse(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert not [line for words in commands(text) if (line := trouble(words))]


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("benchmarks/")])
def test_options_exist(name: str) -> None:
    codes = CODE.findall(FENCE.sub("", (ROOT / name).read_text("utf-8")))
    flags = {code.split()[0].partition("=")[0] for code in codes if code.startswith("--")}
    assert not flags - OPTIONS - OTHERS


def test_there_are_lines_to_check() -> None:
    everything = [words for page in PAGES for words in commands(page.read_text("utf-8")) if len(words) > 1]
    assert {words[0] for words in everything} >= {"train", "sample", "denoise", "tune", "judge", "merge", "export"}


def test_what_is_wrong_is_seen() -> None:
    page = "# One\n\n[a](no.md) [c](#two) [d](README.md)\n\n```\nsfumato sample mini --sharp 2  # no\n```\n"
    page += "`sfumato paint x` and `sfumato tune ./a --noun\ncar` and `sfumato train`\n"
    assert broken(ROOT / "ARCHITECTURE.md", page) == ["no.md", "#two"]
    assert [bool(trouble(words)) for words in commands(page)] == [True, True, False, False]
