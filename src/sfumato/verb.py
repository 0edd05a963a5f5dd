"""Packages that are verbs too: `sfumato.train(...)` beside `sfumato.train.loop`."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType
from typing import Any


class Verb(ModuleType):
    """A package that can be called. Its `VERB`, as "start.train", names the module in it and the function there.

    Python binds a package to its name in the parent as soon as anything in it is imported, so a function of the same
    name could be had only until then.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._function(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @property
    def _function(self) -> Any:
        module, name = self.VERB.split(".")
        return getattr(import_module(f"{self.__name__}.{module}"), name)
