"""How a thing's name stands in a caption: with its article, or in the plural."""

from __future__ import annotations


def article(name: str) -> str:
    """ "a ", "an ", or nothing before what is plural."""
    last = name.split()[-1]
    if last.endswith("s") and not last.endswith(("ss", "us", "is")):
        return ""
    return "an " if name[0] in "aeiou" else "a "


def plural(name: str) -> str:
    return name + "s"
