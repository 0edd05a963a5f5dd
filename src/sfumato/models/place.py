"""Where a model may be written: nothing of anybody else's is replaced, and nothing that is still to be read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from sfumato.errors import UserError
from sfumato.files import check_folder
from sfumato.models.registry import INDEX
from sfumato.models.words import FILE as WORDS

OWN = "sfumato.json"
"""Beside the index of a folder that sfumato wrote: the training data and the default sampling settings."""
SUFFIXES, TEXTS = (".json", ".safetensors"), ("merges.txt",)
"""Of the files in its folders."""


def check(out: Path, inputs: Iterable[str | Path], overwrite: bool, file: bool = False) -> None:
    """Check a place to write to. file: for a file, not a folder.

    Raises UserError if nothing can be written there; if `out` is a link or the current folder, or is or contains one of
    `inputs`; if it exists and is not to be replaced, is of the other kind, or was not written by sfumato.
    """
    if out.is_symlink():
        raise UserError(f"{out} is a symbolic link: name the folder or file itself")
    place = out.resolve()
    if place == Path.cwd() or place in Path.cwd().parents:
        raise UserError(f"{out} is the current folder, or contains it: name a new one in it")
    for source in (Path(name).resolve() for name in inputs if Path(name).exists()):
        if place == source or place in source.parents:
            raise UserError(f"{out} would replace {source}, which is still to be read: choose another place")
    check_folder(out.parent)
    if not out.exists():
        return
    if not overwrite:
        raise UserError(f"{out} exists: --overwrite replaces it")
    if out.is_dir() == file:
        raise UserError(f"{out} is a {'folder' if file else 'file'}, and no {'file' if file else 'folder'} to replace")
    if out.is_dir() and (foreign := _foreign(out)) is not None:
        raise UserError(f"{out} holds {foreign}, which sfumato did not write: it is not replaced; choose another place")


def _foreign(folder: Path) -> str | None:
    """The first entry of a folder that is no part of a model that sfumato wrote; None if all are."""
    names = sorted(path.name for path in folder.iterdir())
    known = {INDEX, OWN, WORDS} if OWN in names else set()
    try:
        known |= set(json.loads((folder / INDEX).read_text("utf-8"))) if known else set()
    except (OSError, ValueError, TypeError):
        known = set()
    inside = (path for path in folder.glob("*/**/*") if path.is_file())
    other = [str(path.relative_to(folder)) for path in inside if path.name not in TEXTS and path.suffix not in SUFFIXES]
    return next((name for name in [*(name for name in names if name not in known), *sorted(other)]), None)
