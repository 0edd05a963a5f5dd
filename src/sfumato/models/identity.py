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
    """The name and the version of a base.

    name: the base's name when it was trained; digest: that of the weights from which it was first loaded. Exports in
    another precision or format keep both.
    """

    name: str
    digest: str

    def to_json(self) -> dict[str, str]:
        """The identity as JSON values."""
        return {"name": self.name, "digest": self.digest}

    @classmethod
    def from_json(cls, values: object) -> Identity | None:
        """An identity from JSON values; None if they are not one."""
        if not isinstance(values, Mapping) or not all(isinstance(values.get(key), str) for key in ("name", "digest")):
            return None
        return cls(values["name"], values["digest"])

    @classmethod
    def of(cls, name: str, *weights: Path) -> Identity:
        """The identity of a base with these weight files, whose order counts."""
        return cls(name, hashlib.sha256("".join(map(sha256, weights)).encode()).hexdigest()[:SHORT])
