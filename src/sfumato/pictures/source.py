"""Where pictures come from: one protocol, and the lookup of a source by name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from sfumato.errors import UserError
from sfumato.pictures.decode import Header
from sfumato.recipe import Data

Progress = Callable[[int, int], None]  # called with (done, total)
KNOWN = "a folder, cifar10, shapes, emoji or a Hub data set (owner/name)"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a source, not yet decoded.

    `key` names it for people, `digest` is the SHA-256 of its content; `look` reads its header and `read`
    decodes it to uint8 (H, W, C): both raise PictureError.
    """

    key: str
    label: str | None
    caption: str | None
    digest: str
    read: Callable[[], np.ndarray] = field(repr=False)
    look: Callable[[], Header] = field(repr=False)


class Source(Protocol):
    """A named collection of pictures in one or two splits."""

    name: str
    splits: tuple[str, ...]
    """`("train",)` or `("train", "test")`."""
    label_names: list[str]
    """In the source's own order; empty if nothing is labelled."""
    refused: dict[str, str]
    """What will not be read, and why."""
    ignored: dict[str, int]
    """How many files of each other extension lie there."""
    notes: list[str]
    """Anything else a person should know, one line each."""

    def fingerprint(self, progress: Progress | None = None) -> str:
        """A digest that changes if any picture, label or caption does."""
        ...

    def items(self, split: str) -> list[Item]: ...


def sides(data: Data) -> tuple[int, int] | None:
    """`data.image_size` as (height, width)."""
    size = data.image_size
    return (size, size) if isinstance(size, int) else size


def data_folder() -> Path | None:
    """`$SFUMATO_DATA`, in which data sets are looked for before the network is asked."""
    folder = os.environ.get("SFUMATO_DATA")
    return Path(folder).expanduser() if folder else None


def open_source(name: str, data: Data) -> Source:
    """`shapes`, `emoji`, `cifar10`, a folder (its path, or its name in `$SFUMATO_DATA`), or a data set of the Hub.

    A folder of the working directory that has one of these names is reached as `./shapes`. Raises UserError.
    """
    from sfumato.pictures import cifar10, folder, hub, shapes
    from sfumato.pictures.emoji import source as emoji

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
