"""What is judged and how, checked before a model is opened. Light: imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato import registry
from sfumato.errors import UserError, listed
from sfumato.models.sampling import Sampling, check_seed

if TYPE_CHECKING:
    from sfumato.judging.features import Features
    from sfumato.registry import Kind

FEWEST = 4
"""Pictures that a distance and its interval need."""


@dataclass(frozen=True)
class Order:
    """The arguments of `sfumato.judge`."""

    n: int | None = None
    data: str | Path | None = None
    features: str | Features | None = None
    metrics: Sequence[str] = ()
    seed: int = 0
    sampling: Sampling = Sampling()

    def check(self) -> None:
        """Raises UserError on a bad value, and for features and metrics that are none. Its names are trusted."""
        self.sampling.check()
        check_seed(self.seed)
        if self.n is not None and self.n < FEWEST:
            raise UserError(f"n={self.n}: at least {FEWEST} are needed for judging")
        metrics = listed("metrics", self.metrics)
        for given in (self.data, self.features, *metrics):
            registry.trust(given)
        if self.data is not None:
            from sfumato.pictures.lookup import check as check_source  # the libraries of pictures

            check_source(self.data)
        for metric in metrics:
            _named("metric", metric)
        if isinstance(self.features, str):
            _features(self.features)
        elif self.features is not None and not callable(self.features):
            raise UserError(f"features {self.features!r:.60}: give a name, or a function of pictures")


def _features(name: str) -> None:
    """A name of the registry's, or the file of Inception's weights."""
    if Path(name).suffix != ".pt":
        _named("features", name)
    elif not Path(name).is_file():
        raise UserError(f"features {name}: the file is not there")


def _named(kind: Kind, name: str) -> None:
    """Only what belongs to another package is imported: its module may be missing."""
    try:
        registry.check(kind, name)
    except ValueError as error:
        raise UserError(str(error)) from error
    if registry.OUTSIDE.fullmatch(name):
        registry.find(kind, name)
