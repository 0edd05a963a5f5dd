"""A source of pictures by name."""

from __future__ import annotations

import re
from pathlib import Path

from sfumato import registry
from sfumato.errors import UserError
from sfumato.pictures import folder, hub
from sfumato.pictures.source import Source, data_folder
from sfumato.recipe.sections import Data

OWN = ", ".join(registry.names("source"))
KNOWN = f"a folder, {OWN}, a Hub data set (owner/name) or a source of your own (package.module:Name)"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.-]+)?")


def open_source(name: str, data: Data) -> Source:
    """A source of the registry (`shapes`, `emoji`, `cifar10`) or of a package (`package.module:Name`), a folder (its
    path, or its name in `$SFUMATO_DATA`), or a data set of the Hub.

    A folder of the working directory that has one of these names is reached as `./shapes`. Raises UserError.
    """
    if not name:
        raise UserError(f"data.source is empty: give {KNOWN}")
    if name in registry.names("source") or registry.OUTSIDE.fullmatch(name):
        thing = registry.find("source", name)
        given = {**data.model_dump(), "data": data}
        taken = registry.arguments(thing, given, data.options, "data.options")
        with registry.calling("source", name):
            made: Source = thing(**taken)
        return made
    if data.options:
        raise UserError(f"data.options are arguments of a source of your own: leave them out with {name}")
    path = _folder(name)
    return hub.open_hub(name, data) if path is None else folder.FolderSource(path, data)


def check(name: str | Path) -> None:
    """Raises UserError if there is no source of this name, or a module of its own cannot be imported; opens nothing."""
    if not isinstance(name, (str, Path)):
        raise UserError(f"data {name!r:.60}: give {KNOWN}")
    if registry.OUTSIDE.fullmatch(str(name)):
        registry.find("source", str(name))
    elif str(name) not in registry.names("source"):
        _folder(str(name))


def _folder(name: str) -> Path | None:
    """The folder of a source, None for a data set of the Hub. Raises UserError if it is neither."""
    path = Path(name).expanduser()
    if not path.exists() and not path.is_absolute() and (shelf := data_folder()) and (shelf / path).is_dir():
        path = shelf / path
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"{name} is a file: data.source is {KNOWN}")
    if HUB_NAME.fullmatch(name):
        return None
    raise UserError(f"no folder {name}: data.source is {KNOWN}")
