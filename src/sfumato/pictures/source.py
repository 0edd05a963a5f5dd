"""The interface of a source of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from sfumato.pictures.decode import Header
from sfumato.progress import Advance
from sfumato.recipe.sections import Data


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a source, not yet decoded.

    `key`: a readable name; `digest`: the SHA-256 of its content; `look` reads its header and `read`
    decodes it to uint8 (H, W, C): both raise PictureError.
    """

    key: str
    label: str | None
    caption: str | None
    digest: str
    read: Callable[[], np.ndarray] = field(repr=False)
    look: Callable[[], Header] = field(repr=False)


class Source(Protocol):
    """A named collection of pictures in one or two splits."""

    name: str
    splits: tuple[str, ...]
    """`("train",)` or `("train", "test")`."""
    label_names: list[str]
    """In the source's own order; empty if nothing is labelled."""
    refused: dict[str, str]
    """Names of files that are not read, with the reasons."""
    ignored: dict[str, int]
    """The number of other files by extension."""
    notes: list[str]
    """Other remarks for the user, one line each."""

    def fingerprint(self, progress: Advance | None = None) -> str:
        """A digest that changes if any picture, label or caption does."""
        ...

    def items(self, split: str) -> list[Item]: ...


@runtime_checkable
class Lexicon(Protocol):
    """A source that lists the words of its captions, and other words for them."""

    @property
    def known(self) -> frozenset[str]:
        """The words that captions can hold, in lower case, without misspellings."""
        ...

    @property
    def synonyms(self) -> Mapping[str, str]:
        """Each such word, in lower case, with the word that captions use."""
        ...


def sides(data: Data) -> tuple[int, int] | None:
    """`data.image_size` as (height, width)."""
    size = data.image_size
    return (size, size) if isinstance(size, int) else size


def data_folder() -> Path | None:
    """`$SFUMATO_DATA`, where data sets and bases are looked up before anything is downloaded; None if it is not set."""
    folder = os.environ.get("SFUMATO_DATA")
    return Path(folder).expanduser() if folder else None
