"""The interface of a source of pictures."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
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

    `key`: a readable name; `digest`: the SHA-256 of its content; `header` reads its header and `read`
    decodes it to uint8 (H, W, C): both raise PictureError. `read` puts into `notes` how an unusual file was read.
    """

    key: str
    label: str | None
    caption: str | None
    digest: str
    read: Callable[[], np.ndarray] = field(repr=False)
    header: Callable[[], Header] = field(repr=False)
    notes: list[str] = field(default_factory=list, repr=False, compare=False)


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


class Made(ABC):
    """The base of a source whose pictures are computed: a subclass gives `picture`, a pure function of its arguments.

    name: for people; splits: how many pictures are in "train", and in "test" if there is such a split; labels: all
    that there are, in their order; version: another text whenever `picture` changes, since pictures are kept.
    """

    def __init__(self, name: str, splits: Mapping[str, int], labels: Sequence[str] = (), version: str = "1") -> None:
        self.name, self.counts, self.version = name, dict(splits), version
        self.splits: tuple[str, ...] = tuple(splits)
        self.label_names = list(labels)
        self.refused: dict[str, str] = {}
        self.ignored: dict[str, int] = {}
        self.notes: list[str] = []

    @abstractmethod
    def picture(self, split: str, number: int) -> tuple[np.ndarray, str | None, str | None]:
        """A picture, uint8 (H, W, C) with C = 1 or 3, its label and its caption, None where it has none."""

    def fingerprint(self, progress: Advance | None = None) -> str:
        facts = (type(self).__module__, type(self).__qualname__, self.name, self.counts, self.label_names, self.version)
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def items(self, split: str) -> list[Item]:
        return [self._item(split, number) for number in range(self.counts[split])]

    def _item(self, split: str, number: int) -> Item:
        pixels, label, caption = self.picture(split, number)
        height, width, channels = pixels.shape
        return Item(
            key=f"{split}/{number:06d}", label=label, caption=caption,
            digest=hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest(),
            read=lambda: self.picture(split, number)[0],
            header=lambda: Header(height, width, "RGB" if channels == 3 else "L"),
        )  # fmt: skip


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
