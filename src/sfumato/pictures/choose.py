"""Which pictures of a source are used, their size, and which of them are held out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence

from sfumato.errors import UserError
from sfumato.pictures.decode import Header, PictureError
from sfumato.pictures.kinds import EXTENSIONS
from sfumato.pictures.pool import ordered
from sfumato.pictures.scan import Report, read_header, report
from sfumato.pictures.source import Item, Source, sides
from sfumato.pictures.vocabulary import nearest
from sfumato.recipe.sections import Data

SAMPLED = 2000  # headers that decide on a size
Heads = Sequence[Header | PictureError]  # of all chosen items, in their order


def chosen_items(source: Source, data: Data) -> dict[str, list[Item]]:
    """The items of each split with the labels of `data.labels`. Raises UserError if there are none."""
    if data.labels is not None:
        if not data.labels:
            raise UserError("data.labels is empty: name at least one label, or leave it out to use all")
        if not source.label_names:
            raise UserError(f"data.labels is set, but the pictures of {source.name} have no labels")
        for label in data.labels:
            if label not in source.label_names:
                raise UserError(f"{source.name} has no label {label!r}; {nearest(label, source.label_names)}")
    chosen = {
        split: [item for item in source.items(split) if data.labels is None or item.label in data.labels]
        for split in source.splits
    }
    if data.split == "random":
        chosen = {"train": [item for part in chosen.values() for item in part]}
    if not any(chosen.values()):
        why = "".join(f"; refused {name}: {reason}" for name, reason in list(source.refused.items())[:1])
        raise UserError(f"{source.name} holds no pictures ({', '.join(EXTENSIONS)}){why}")
    return chosen


def headers(chosen: Mapping[str, Sequence[Item]], data: Data) -> list[Header | PictureError]:
    """The headers of all chosen items."""
    limit = int(data.max_megapixels * 1e6)
    items = [item for part in chosen.values() for item in part]
    return list(ordered(lambda item: read_header(item, limit), items, 64))


def side_of(source: Source, data: Data, at_most: int) -> int | tuple[int, int]:
    """The size to train at if none is set: the common size of all pictures if it is small, else a square that most
    pictures can fill without enlargement. Reads at most SAMPLED headers."""
    items = [item for part in chosen_items(source, data).values() for item in part]
    limit = int(data.max_megapixels * 1e6)
    some = items[:: math.ceil(len(items) / SAMPLED) or 1]
    sized = _sized(source, ordered(lambda item: read_header(item, limit), some, 64))
    if len(sized.sizes) == 1:
        height, width = sized.size_range()["common"]
        if max(height, width) <= at_most and height % 4 == width % 4 == 0:
            return height, width
    return sized.suggested_size(at_most)


def _sized(source: Source, heads: Iterable[Header | PictureError]) -> Report:
    sized = Report(source.name, sizes={})
    for head in heads:
        if isinstance(head, Header):
            sized.sizes[head.size] = sized.sizes.get(head.size, 0) + 1
    return sized


def size_of(source: Source, data: Data, heads: Heads) -> tuple[int, int]:
    """Height and width of the store: `data.image_size`, or the size all pictures share. Raises UserError."""
    if (size := sides(data)) is not None:
        return size
    sized = _sized(source, heads)
    proposal = f"set data.image_size, for instance data.image_size={sized.suggested_size()}"
    if len(sized.sizes) > 1:
        (low, left), (high, right) = sized.size_range()["min"], sized.size_range()["max"]
        raise UserError(
            f"the pictures of {source.name} have {len(sized.sizes)} sizes, "
            f"from {left}x{low} to {right}x{high}: {proposal}"
        )
    height, width = sized.size_range()["common"]
    if not (8 <= height <= 1024 and 8 <= width <= 1024):
        raise UserError(
            f"the pictures of {source.name} are {width}x{height}, and a side is between 8 and 1024 pixels: {proposal}"
        )
    return height, width


def all_grey(heads: Heads) -> bool:
    """Whether all pictures are grey by their headers."""
    return all(head.mode.split()[0] in ("1", "L", "LA", "F") for head in heads if isinstance(head, Header))


def order_of(chosen: Mapping[str, Sequence[Item]], heads: Heads) -> list[int]:
    """Indices of the items with good headers in the order of the store, held-out ones first.

    Without a test split they are ordered by a hash of their content: equal pictures are neighbours, and the split
    can be decided after decoding, when it is known which pictures are intact.
    """
    train = len(chosen["train"])
    good = [index for index, head in enumerate(heads) if isinstance(head, Header)]
    if chosen.get("test"):
        return [index for index in good if index >= train] + [index for index in good if index < train]
    digests = [item.digest for item in chosen["train"]]
    return sorted(good, key=lambda index: (_rank(digests[index]), index))


def border_of(source: Source, chosen: Mapping[str, Sequence[Item]], good: Sequence[int], data: Data) -> int:
    """How many of the intact items, in the store's order, are held out.

    The test split if there is one, else the share `data.held_out` of the different contents, at least one. Raises
    UserError if no picture is left for training or for the held-out part.
    """
    train = chosen["train"]
    if chosen.get("test"):
        border = sum(index >= len(train) for index in good)
        if not 0 < border < len(good):
            raise UserError(f"{source.name} has no whole picture for {'training' if border else 'the test split'}")
        return border
    contents = list(dict.fromkeys(train[index].digest for index in good))
    if len(contents) < 2:
        sized = "only one picture" if len(good) == 1 else f"only {len(good)} copies of one picture"
        raise UserError(f"{source.name} has {sized}; two different ones are needed, one of them held out")
    share = min(max(1, round(data.held_out * len(contents))), len(contents) - 1)
    held_out = set(contents[:share])
    return sum(train[index].digest in held_out for index in good)


def final_report(
    source: Source,
    data: Data,
    chosen: Mapping[str, Sequence[Item]],
    heads: Heads,
    size: tuple[int, int],
    rows: int,
) -> Report:
    """The report of a store of `rows` pictures; `heads` carry the errors of decoding too."""
    result, shape = report(source.name, chosen, heads), f"{size[1]}x{size[0]}"
    if data.crop != "center":
        result.notes.append(f"cut into {rows:,} tiles of {shape}")
    small = sum(isinstance(head, Header) and (head.height < size[0] or head.width < size[1]) for head in heads)
    if small:
        result.notes.append(f"{small:,} of the pictures are smaller than {shape} and are enlarged")
    return result


def _rank(digest: str) -> str:
    return hashlib.sha256(f"held out {digest}".encode()).hexdigest()
