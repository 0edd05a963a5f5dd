"""A report on pictures before training: counts, sizes, duplicates, and files that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from sfumato.files import Json
from sfumato.pictures.decode import Header, PictureError, TooLargeError, check_size
from sfumato.pictures.source import Item, Source

FEW = 10  # a label with fewer pictures than this is reported
SHOWN = 10  # names printed of a long list; the JSON has them all
SIDES = (256, 128, 64, 32)


@dataclass
class Report:
    """Counts of a source's pictures, and the names of all that are left out.

    `sizes` maps "WIDTHxHEIGHT" to a count of pictures, `duplicates` lists groups of equal content,
    `corrupt` and `refused` map names to reasons. Sizes are those of the files after rotation by EXIF.
    """

    name: str
    splits: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    captions: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    duplicates: list[list[str]] = field(default_factory=list)
    corrupt: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        """The number of usable pictures."""
        return sum(self.splits.values())

    @property
    def near_empty(self) -> list[str]:
        """Labels with fewer than ten pictures."""
        return [label for label, count in self.labels.items() if count < FEW]

    def size_range(self) -> dict[str, tuple[int, int]]:
        """Smallest, median, largest (by area) and most common size, as (height, width); empty without any."""
        ordered = sorted((_sides(text) for text in self.sizes), key=lambda size: (size[0] * size[1], size))
        if not ordered:
            return {}
        left = (sum(self.sizes.values()) + 1) // 2
        for median in ordered:
            left -= self.sizes[_size(*median)]
            if left <= 0:
                break
        common = _sides(max(self.sizes, key=self.sizes.__getitem__))
        return {"min": ordered[0], "median": median, "max": ordered[-1], "common": common}

    def suggested_size(self, at_most: int = 64) -> int:
        """A side to train at: the largest of 32, 64, 128, 256 that fits the median picture and `at_most`."""
        median = self.size_range().get("median", (at_most, at_most))
        return next((side for side in SIDES if side <= min(at_most, *median)), SIDES[-1])

    def include(self, source: Source) -> Report:
        """Add the source's refused and ignored files, and its notes."""
        self.refused |= source.refused
        self.ignored, self.notes = dict(source.ignored), self.notes + source.notes
        return self

    def lines(self) -> list[str]:
        """The report for people."""
        lines = [f"{self.name}: {_count(self.pictures, 'picture')}" + _in_splits(self.splits)]
        if self.labels:
            shown = ", ".join(f"{label} {count}" for label, count in list(self.labels.items())[:SHOWN])
            more = f" and {len(self.labels) - SHOWN} more" if len(self.labels) > SHOWN else ""
            lines.append(f"{_count(len(self.labels), 'label')}: {shown}{more}")
        if self.captions:
            lines.append(f"{_count(self.captions, 'caption')}")
        if sizes := self.size_range():
            low, median, high, common = (_size(*sizes[key]) for key in ("min", "median", "max", "common"))
            if low == high and len(self.sizes) == 1:
                lines.append(f"size: all {common} (width x height)")
            else:
                lines.append(
                    f"sizes (width x height): {low} to {high}, median {median}, most common {common} "
                    f"({self.sizes[common]} of {sum(self.sizes.values())})"
                )
        if self.modes:
            lines.append("modes: " + ", ".join(f"{mode} {count}" for mode, count in self.modes.items()))
        if self.near_empty:
            lines.append(f"labels with fewer than {FEW} pictures: {_some(self.near_empty)}")
        if self.duplicates:
            extra = sum(len(group) - 1 for group in self.duplicates)
            pairs = [" = ".join(group) for group in self.duplicates]
            lines.append(f"{_count(extra, 'exact duplicate')}, kept: {_some(pairs)}")
        for what, names in (("corrupt, left out", self.corrupt), ("refused", self.refused)):
            if names:
                reasons = [f"{name} ({reason})" for name, reason in names.items()]
                lines.append(f"{len(names)} {what}: {_some(reasons)}")
        if self.ignored:
            kinds = [f"{count} {extension}" for extension, count in self.ignored.items()]
            lines.append(f"{_count(sum(self.ignored.values()), 'other file')} ignored: {_some(kinds)}")
        return lines + self.notes

    def to_json(self) -> Json:
        """All fields and the derived figures."""
        derived = {"pictures": self.pictures, "near_empty": self.near_empty, "size_range": self.size_range()}
        return asdict(self) | derived

    @classmethod
    def from_json(cls, values: Json) -> Report:
        derived = ("pictures", "near_empty", "size_range")
        return cls(**{key: value for key, value in values.items() if key not in derived})


def report(name: str, splits: Mapping[str, Sequence[Item]], headers: Iterable[Header | PictureError]) -> Report:
    """Count the chosen items of each split; `headers`: of all items in order, with errors in place of some."""
    result = Report(name)
    sizes: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    groups: dict[str, list[str]] = {}
    heads = iter(headers)
    for split, items in splits.items():
        result.splits[split] = 0
        for item in items:
            head = next(heads)
            if isinstance(head, PictureError):
                leave_out(result, item.key, head)
                continue
            result.splits[split] += 1
            sizes[head.size] += 1
            modes[head.mode] += 1
            result.captions += item.caption is not None
            if item.label is not None:
                labels[item.label] += 1
            groups.setdefault(item.digest, []).append(item.key)
    result.sizes, result.modes = dict(sizes.most_common()), dict(modes.most_common())
    result.labels = dict(sorted(labels.items()))
    result.duplicates = [group for group in groups.values() if len(group) > 1]
    return result


def noted(items: Iterable[Item]) -> list[str]:
    """How unusual files were read: a line for each kind, with the number of pictures and one of their names."""
    names: dict[str, list[str]] = {}
    for item in items:
        for note in item.notes:
            names.setdefault(note, []).append(item.key)
    return [f"{_count(len(keys), 'picture')}, such as {keys[0]}: {note}" for note, keys in names.items()]


def leave_out(result: Report, key: str, error: PictureError) -> None:
    """Record why a picture is not used."""
    (result.refused if isinstance(error, TooLargeError) else result.corrupt)[key] = str(error)


def read_header(item: Item, max_pixels: int) -> Header | PictureError:
    """A picture's header, or why it cannot be used."""
    try:
        head = item.header()
        check_size(head.height, head.width, max_pixels)
    except PictureError as error:
        return error
    return head


def _size(height: int, width: int) -> str:
    return f"{width}x{height}"


def _sides(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(height), int(width)


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _in_splits(splits: dict[str, int]) -> str:
    named = ", ".join(f"{count:,} {split}" for split, count in splits.items())
    return f" ({named})" if len(splits) > 1 else ""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
