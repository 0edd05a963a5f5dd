"""The command that repeats a verdict, quoted so that it runs when it is pasted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato.files import Json
from sfumato.judging.noisy import Noisy
from sfumato.judging.order import FEWEST, Order

if TYPE_CHECKING:
    from sfumato.models.model import Model

Words = Sequence[str | int | float | Path]


def generated(model: str | Path | Model, order: Order, features: str, n: int, settings: Json, guided: bool) -> str:
    """`sfumato judge` with all that determines the figures.

    model, order: as they were given; features: their name; n: pictures drawn; settings: of the sampler, with `seed`;
    guided: whether the model has a condition, without which there is no guidance.
    """
    words: list[str | int | float | Path] = ["sfumato", "judge", _named(model), "--task", "generate"]
    words += ["--data", _path(order.data)] if order.data else []
    words += ["-n", n, "--features", order.features if isinstance(order.features, str) else features]
    for metric in order.metrics:
        words += ["--metric", metric]
    words += ["--steps", settings["steps"], "--sampler", settings["sampler"]]
    words += ["--guidance", f"{settings['guidance']:g}"] if guided else []
    return _joined([*words, "--seed", settings["seed"]])


def denoised(model: str | Path | Model, noisy: Noisy, n: int, data: str | None, seed: int) -> str:
    """`sfumato judge --task denoise` with all that determines the figures."""
    words: list[str | int | float | Path] = ["sfumato", "judge", _named(model), "--task", "denoise"]
    words += ["--data", _path(data)] if data else []
    words += ["-n", n] if n >= FEWEST else []  # fewer are all that there are
    words += ["--sigma", f"{noisy.sigma:g}", *(() if noisy.clip else ("--no-clip",))]
    words += [*(("--blind",) if noisy.blind else ()), *(("--mirror",) if noisy.mirror else ())]
    words += () if noisy.correct else ("--no-correct",)
    return _joined([*words, "--seed", seed])


def _named(model: str | Path | Model) -> str | Path:
    """A model as it was given: a path in full, so that the command runs in any folder; a name as it is."""
    return model.name if not isinstance(model, str | Path) else _path(str(model))


def _path(given: str | Path) -> str | Path:
    """A path in full, anything else as it is."""
    return Path(given).resolve() if Path(given).exists() else given


def _joined(words: Words) -> str:
    return shlex.join(map(str, words))
