"""sfumato: teach a diffusion model your pictures, and know how good the result is.

import sfumato
run = sfumato.train("shapes")
drawn = sfumato.sample(run.folder, 16, texts="a red circle on a grey background")
drawn.grid().save("circles.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfumato.api import compare, denoise, export, judge, load, merge, sample, train, tune
from sfumato.errors import UserError
from sfumato.models.sampling import Sampling
from sfumato.progress import Event, Progress, Stop
from sfumato.registry import register
from sfumato.tuning.preset import Preset
from sfumato.version import __version__

if TYPE_CHECKING:
    from sfumato.models.model import Model
    from sfumato.recipe.recipe import Recipe

__all__ = [
    "Event",
    "Model",
    "Preset",
    "Progress",
    "Recipe",
    "Sampling",
    "Stop",
    "UserError",
    "__version__",
    "compare",
    "denoise",
    "export",
    "judge",
    "load",
    "merge",
    "register",
    "sample",
    "train",
    "tune",
]


def __getattr__(name: str) -> type:
    """`Model` and `Recipe`, which are imported at their first use because they need heavy libraries."""
    if name == "Model":
        from sfumato.models.model import Model

        return Model
    if name == "Recipe":
        from sfumato.recipe.recipe import Recipe

        return Recipe
    raise AttributeError(f"module 'sfumato' has no attribute {name!r}")
