"""sfumato: teach a diffusion model your pictures, and know how good the result is.

import sfumato
run = sfumato.train("shapes")
pictures = sfumato.load(run.path).sample(16, texts=["a red circle on a grey background"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sfumato.api import compare, judge, load, train, tune
from sfumato.registry import register

if TYPE_CHECKING:
    from sfumato.models.model import Model

__version__ = "0.1.0"
__all__ = ["Model", "compare", "judge", "load", "register", "train", "tune"]


def __getattr__(name: str) -> Any:
    """The types, which bring in torch."""
    if name == "Model":
        from sfumato.models.model import Model

        return Model
    raise AttributeError(f"module 'sfumato' has no attribute {name!r}")
