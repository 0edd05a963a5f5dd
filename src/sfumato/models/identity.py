"""Which base this is, and which version of it: given when it is trained, kept by every export and merge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sfumato.files import sha256

SHORT = 12  # hexadecimal digits that are kept


@dataclass(frozen=True)
class Identity:
    """name: what the base was trained as; digest: of the weights that it was first loaded from, whatever precision or
    format they were written in since."""

    name: str
    digest: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "digest": self.digest}

    @classmethod
    def from_json(cls, values: object) -> Identity | None:
        """None if the values are no identity."""
        if not isinstance(values, Mapping) or not all(isinstance(values.get(key), str) for key in ("name", "digest")):
            return None
        return cls(values["name"], values["digest"])

    @classmethod
    def of(cls, name: str, *weights: Path) -> Identity:
        """The identity that a base gets from its files of weights."""
        return cls(name, hashlib.sha256("".join(map(sha256, weights)).encode()).hexdigest()[:SHORT])
