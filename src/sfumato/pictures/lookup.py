"""A source of pictures by name."""

from __future__ import annotations

import re
from pathlib import Path

from sfumato.errors import UserError
from sfumato.pictures import cifar10, folder, hub
from sfumato.pictures.drawn import shapes
from sfumato.pictures.drawn.emoji import source as emoji
from sfumato.pictures.source import Source, data_folder
from sfumato.recipe.sections import Data

KNOWN = "a folder, cifar10, shapes, emoji or a Hub data set (owner/name)"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.-]+)?")


def open_source(name: str, data: Data) -> Source:
    """`shapes`, `emoji`, `cifar10`, a folder (its path, or its name in `$SFUMATO_DATA`), or a data set of the Hub.

    A folder of the working directory that has one of these names is reached as `./shapes`. Raises UserError.
    """
    if not name:
        raise UserError(f"data.source is empty: give {KNOWN}")
    if name == "shapes":
        return shapes.ShapesSource(data)
    if name == "emoji":
        return emoji.EmojiSource(data)
    if name == "cifar10":
        return cifar10.open_cifar10(data)
    path = Path(name).expanduser()
    if not path.exists() and not path.is_absolute() and (shelf := data_folder()) and (shelf / path).is_dir():
        path = shelf / path
    if path.is_dir():
        return folder.FolderSource(path, data)
    if path.exists():
        raise UserError(f"{name} is a file: data.source is {KNOWN}")
    if HUB_NAME.fullmatch(name):
        return hub.open_hub(name, data)
    raise UserError(f"no folder {name}: data.source is {KNOWN}")
