"""The words of a text, by the rule that CLIP's tokenizer splits it by."""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"[^\W\d_]+|\d")  # runs of letters, single digits
ENDING = re.compile(r"['’](?:s|t|re|ve|m|ll|d)\b")  # split off by CLIP's rule too: not words


def split(text: str) -> list[str]:
    """The words of a text in lower case, as CLIP's tokenizer splits it: runs of letters, and digits one by one."""
    return WORD.findall(ENDING.sub(" ", unicodedata.normalize("NFC", text).lower()))
