"""sfumato: teach a diffusion model your pictures, and know how good the result is.

import sfumato
run = sfumato.train("shapes")
pictures = sfumato.load(run.path).sample(16, texts=["a red circle on a grey background"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sfumato.judge.model import compare, judge
    from sfumato.model import Model
    from sfumato.train.start import train
    from sfumato.tune.finish import tune
    from sfumato.zoo import load

__all__ = ["Model", "compare", "judge", "load", "train", "tune"]

_HOMES = {
    "Model": "sfumato.model",
    "load": "sfumato.zoo",
    "compare": "sfumato.judge.model",
}


_VERBS = ("train", "judge", "tune")  # packages that can be called


def __getattr__(name: str) -> Any:
    """Bring in torch and friends when they are first needed."""
    from importlib import import_module

    if name in _VERBS:
        return import_module(f"sfumato.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'sfumato' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
