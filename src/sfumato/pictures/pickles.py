"""Refuses torchvision's folders of CIFAR, which hold pickles: opening one can run any code."""

from __future__ import annotations

from pathlib import Path

from sfumato.errors import UserError

KINDS = (
    ("cifar-10-batches-py", ("data_batch_1", "batches.meta"), "use `cifar10`, which reads the Hub's uoft-cs/cifar10"),
    ("cifar-100-python", ("train", "test", "meta"), "use the Hub's, data.source=uoft-cs/cifar100"),
)
"""Name of a folder, files in it, and what to do."""
OFFLINE = "; without a network, save its pictures as PNG files in a folder for each label and split"


def refuse_pickles(folder: Path, name: str) -> None:
    """Raise UserError, one line with the way out, if a folder is one of torchvision's or contains it."""
    for own, files, mend in KINDS:
        if any(all((place / file).is_file() for file in files) for place in (folder, folder / own)):
            raise UserError(f"{name}: torchvision's {own} holds pickles, which are never opened: {mend}{OFFLINE}")
