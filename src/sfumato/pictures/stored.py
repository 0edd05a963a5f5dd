"""Pictures as they are learned from: the training and the held-out ones, of one shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from sfumato.pictures.scan import Report


@dataclass(frozen=True)
class Pictures:
    """The training pictures, or the held-out ones.

    pixels: uint8 (N, C, H, W), a memory map that is never written back, or an object that draws the rows that are
    indexed; labels: int64 (N,), indices into `label_names`, -1 for none; captions: N texts, "" for none, or V N texts,
    of which k, k + N, ... belong to picture k, or None if no picture has one; keys: N readable names.
    """

    pixels: Any
    labels: Tensor
    label_names: list[str]
    captions: list[str] | None
    keys: list[str]

    def __len__(self) -> int:
        return len(self.keys)

    def texts(self, kind: str) -> list[str]:
        """The texts that a vocabulary of this kind ("none", "class", "words") encodes, one for each picture."""
        if kind == "class":
            return [self.label_names[label] if label >= 0 else "" for label in self.labels.tolist()]
        return ((self.sentences if kind == "words" else None) or [""] * len(self))[: len(self)]

    @property
    def sentences(self) -> list[str] | None:
        """The captions; without captions "a photo of a LABEL"; None if there are no labels either."""
        if self.captions is not None or not self.label_names:
            return self.captions
        named = [f"a photo of {'an' if name[:1].lower() in 'aeiou' else 'a'} {name}" for name in self.label_names]
        return [named[label] if label >= 0 else "a photo" for label in self.labels.tolist()]


@dataclass(frozen=True)
class Store:
    """Training and held-out pictures of one shape (C, H, W).

    digest: a hash of the content; known, synonyms: the words of the captions and other words for them, if the source
    lists them.
    """

    train: Pictures
    held_out: Pictures
    digest: str
    report: Report
    shape: tuple[int, int, int]
    known: frozenset[str] = frozenset()
    synonyms: Mapping[str, str] = field(default_factory=dict)
