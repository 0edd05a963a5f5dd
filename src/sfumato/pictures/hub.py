"""Image data sets of the Hub, through `datasets`; code that comes with a data set is never run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.pictures.captions import CAPTION_COLUMNS
from sfumato.pictures.source import Source
from sfumato.pictures.table import Columns, TableSource
from sfumato.recipe.sections import Data

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

TIMEOUT = 10.0  # seconds to wait for the Hub
TESTS = ("test", "validation", "valid", "val")


def open_hub(name: str, data: Data) -> Source:
    """A data set by `owner/name`, or `owner/name:configuration`. Raises UserError."""
    import datasets

    path, _, configuration = name.partition(":")
    try:
        with _offline_without_network(path):
            loaded = datasets.load_dataset(path, configuration or None)
    except Exception as error:  # the network, the Hub, the cache and the disk each have their own errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot load {path} from the Hub ({reason[:160].rstrip('. ')})") from error
    return from_datasets(name, loaded, data)


@contextlib.contextmanager
def _offline_without_network(path: str) -> Iterator[None]:
    """Try the Hub once; without a network use the cache alone, and spare minutes of retries."""
    import datasets
    import huggingface_hub

    before = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    try:
        huggingface_hub.HfApi().dataset_info(path, timeout=TIMEOUT)
    except huggingface_hub.errors.HfHubHTTPError:  # it answers: load_dataset will report the error in clearer words
        pass
    except Exception:  # no DNS, no route, no answer: each HTTP library has its own exceptions
        datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE = before


def from_datasets(name: str, splits: dict[str, Dataset], data: Data) -> TableSource:
    """A source over loaded data sets by split name.

    The picture is the column of type Image, the label a ClassLabel column, the caption a column called text,
    caption or prompt. Raises UserError.
    """
    train = splits.get("train")
    if train is None:
        raise UserError(f"{name} has no split called train (it has {', '.join(map(str, splits))})")
    test = next((splits[split] for split in TESTS if split in splits), None)
    chosen = {"train": train} if test is None else {"train": train, "test": test}
    columns, names = _columns(name, train.features)
    return TableSource(
        name,
        {split: partial(_table, dataset) for split, dataset in chosen.items()},
        {split: [Path(file["filename"]) for file in dataset.cache_files] for split, dataset in chosen.items()},
        columns,
        names,
        data,
    )


def _columns(name: str, features: Json) -> tuple[Columns, list[str]]:
    """The columns by feature type, and the names of the classes."""
    import datasets

    image = next((column for column, kind in features.items() if isinstance(kind, datasets.Image)), None)
    if image is None:
        raise UserError(f"{name} has no column of pictures (its columns: {', '.join(features)})")
    classes = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    label = next((column for column in ("label", "fine_label", *classes) if column in classes), None)
    caption = next((column for column in CAPTION_COLUMNS if column in features), None)
    return Columns(image, label, caption), list(features[label].names) if label else []


def _table(dataset: Dataset) -> pa.Table:
    return dataset.with_format("arrow")[:] if dataset._indices is not None else dataset.data.table
