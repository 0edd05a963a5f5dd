"""The forms of captions from phrases.yaml, each repeated according to its weight."""

from __future__ import annotations

import functools
import random
from importlib import resources
from typing import Any

from sfumato import yaml12
from sfumato.files import Json


@functools.cache
def forms() -> Json:
    """phrases.yaml, its weighted forms as tuples in which a form of weight 3 occurs three times."""
    return _expand(yaml12.read((resources.files(__package__) / "phrases.yaml").read_text(encoding="utf-8")))


def _expand(node: Json) -> Any:
    if all(isinstance(weight, int) for weight in node.values()):
        return tuple(form for form, weight in node.items() for _ in range(weight))
    return {key: _expand(inner) for key, inner in node.items()}


def one_of(choices: tuple[Any, ...], rng: random.Random) -> Any:
    """A random choice. Only `rng.random()` gives the same numbers in every version of Python."""
    return choices[int(rng.random() * len(choices))]
