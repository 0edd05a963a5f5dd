"""Presets: named groups of settings for a tuning. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfumato.errors import UserError, listed

if TYPE_CHECKING:
    from sfumato.recipe.recipe import Recipe

PRESETS = {"sd": "tune", "mini": "tune-mini", "seed": "seed-tune"}
"""The shipped recipe of each preset."""


@dataclass(frozen=True)
class Preset:
    """A named group of settings for `tune`, with changes.

    Attributes:
        name: "mini"; "sd"; "default", which is "mini" for the base mini and "sd" for all others; or "seed", the
            settings of the second seed project.
        overrides: Changed values, each `KEY=VALUE` with a dotted path as KEY, such as "train.lr=5e-4".

    Raises:
        UserError: One override is given that is in no list.
    """

    name: str = "default"
    overrides: Sequence[str] = ()

    def __post_init__(self) -> None:
        listed("overrides", self.overrides)

    def recipe(self, base: str) -> Recipe:
        """The recipe for a base, without the overrides and without photos. Raises UserError."""
        from sfumato.recipe import recipe as recipes

        known = {**PRESETS, "default": PRESETS["mini" if base == "mini" else "sd"]}
        if self.name not in known:
            raise UserError(f"there is no preset {self.name}: choose one of {', '.join(sorted(known))}")
        return recipes.load(known[self.name]).with_({"name": "", "tune.base": base})

    def check(self, base: str) -> None:
        """Raises UserError if there is no such preset, or an override is invalid."""
        from sfumato.recipe import recipe as recipes

        recipes.build(self.recipe(base).model_dump(), self.overrides)
