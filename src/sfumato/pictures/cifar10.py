"""CIFAR-10 (Krizhevsky 2009): the parquet files of `uoft-cs/cifar10`, from `$SFUMATO_DATA` or the Hub."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato.errors import UserError
from sfumato.pictures.hub import open_hub
from sfumato.pictures.source import Source, data_folder
from sfumato.pictures.table import Columns, TableSource
from sfumato.recipe.sections import Data

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
HUB_NAME = "uoft-cs/cifar10"


def open_cifar10(data: Data) -> Source:
    """50,000 training and 10,000 test pictures of 32 x 32, with their class names. Raises UserError."""
    root = data_folder()
    if root is not None:
        files = {split: sorted((root / "cifar10").glob(f"{split}-*.parquet")) for split in ("train", "test")}
        if all(files.values()):
            tables = {split: partial(_table, paths) for split, paths in files.items()}
            return TableSource("cifar10", tables, files, Columns("img", "label"), LABELS, data)
    try:
        return open_hub(HUB_NAME, data)
    except UserError as error:
        where = f"in {root / 'cifar10'}" if root is not None else "because SFUMATO_DATA is not set"
        raise UserError(
            f"cifar10: no train-*.parquet and test-*.parquet {where}, and {error}; "
            f"copy the two files of the Hub's {HUB_NAME} into a folder cifar10/ "
            f"and set SFUMATO_DATA to the folder that contains it"
        ) from error


def _table(files: list[Path]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        return pa.concat_tables([parquet.read_table(path, columns=["img", "label"]) for path in files])
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{files[0].parent}: not the parquet files of {HUB_NAME} ({reason})") from error
