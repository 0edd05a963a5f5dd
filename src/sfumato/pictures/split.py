"""The words of a text, by the rule that CLIP's tokenizer splits it by."""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"[^\W\d_]+|\d")  # runs of letters, single digits
ENDING = re.compile(r"['’](?:s|t|re|ve|m|ll|d)\b")  # split off by CLIP's rule too: not words

RESERVED = (
    *("zarnu", "vilko", "quopa", "dremu", "fyxo", "glapi", "hurbo", "jasku", "kelvo", "lozu", "mipta", "nuvek"),
    *("oxilu", "pravu", "sofni", "tarbu", "ulmox", "vexo", "wiblo", "xanu", "yorpa", "zilba", "brenu", "cluvo"),
    *("dasko", "enkor", "fupri", "gorvi", "holpu", "irzak", "jeluo", "kwimo"),
)
"""Meaningless words of one token each. No training caption contains them, so that a tuning can use one as a name."""


def split(text: str) -> list[str]:
    """The words of a text in lower case, split as CLIP's tokenizer does: runs of letters, and single digits."""
    return WORD.findall(ENDING.sub(" ", unicodedata.normalize("NFC", text).lower()))
