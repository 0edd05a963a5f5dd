"""The identity of a base and its version: set in training, kept in every export and merge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sfumato.files import sha256

SHORT = 12  # hexadecimal digits that are kept


@dataclass(frozen=True)
class Identity:
    """name: of the base when it was trained; digest: of the weights that it was first loaded from. Later exports in
    another precision or format keep it."""

    name: str
    digest: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "digest": self.digest}

    @classmethod
    def from_json(cls, values: object) -> Identity | None:
        """An identity from JSON values; None if they are not one."""
        if not isinstance(values, Mapping) or not all(isinstance(values.get(key), str) for key in ("name", "digest")):
            return None
        return cls(values["name"], values["digest"])

    @classmethod
    def of(cls, name: str, *weights: Path) -> Identity:
        """The identity of a base with these weight files."""
        return cls(name, hashlib.sha256("".join(map(sha256, weights)).encode()).hexdigest()[:SHORT])
