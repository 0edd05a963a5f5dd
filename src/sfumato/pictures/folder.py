"""A folder of pictures as a source: subfolders are labels, text files beside pictures are captions."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sfumato.pictures.cache import Memory
from sfumato.pictures.captions import METADATA, is_sidecar, rank, read_metadata, read_sidecar
from sfumato.pictures.decode import Header, PictureError, decode, header
from sfumato.pictures.errors import ExtraError
from sfumato.pictures.kinds import is_picture, why_not
from sfumato.pictures.pickles import refuse_pickles
from sfumato.pictures.pool import ordered
from sfumato.pictures.source import Item, sides
from sfumato.progress import Advance
from sfumato.recipe.sections import Data

INDEX = 2  # of what is remembered of files
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "test"), "test"),
}
"""Names of folders that are splits, and which they are."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture file of the folder."""

    key: str
    path: Path
    stat: os.stat_result

    @property
    def stem(self) -> str:
        """The key without its extension."""
        return self.key[: len(self.key) - len(self.path.suffix)]


class FolderSource:
    """Pictures under a folder, of any depth and case of extension.

    The first subfolder's name is the label. A caption is the row of a `metadata.csv` or `metadata.jsonl`
    beside or above the picture, or else the text of `NAME.txt` or `NAME.caption`. If pictures lie in a training folder
    and in one or more of SPLITS that are held out, the labels are one level down, and pictures elsewhere are refused.
    A training folder alone has its labels one level down too. Hidden files are skipped; links that lead out of the
    folder, links to folders and files that are not regular are refused and named.
    """

    def __init__(self, root: Path, data: Data) -> None:
        self.root = root.resolve()
        self.name = str(root)
        self.refused: dict[str, str] = {}
        self.notes: list[str] = []
        self._data = data
        self._files: list[PictureFile] = []
        self._metadata: list[Path] = []
        self._texts: dict[str, Path] = {}  # caption files by key without extension
        others: Counter[str] = Counter()
        refuse_pickles(self.root, self.name)
        self._walk(others)
        self._files.sort(key=lambda file: file.key)
        self._captions = read_metadata(self.root, self._metadata, {f.key for f in self._files}, self.notes)
        for stem in self._texts.keys() - {file.stem for file in self._files}:
            others[self._texts[stem].suffix.lower()] += 1
        self.ignored = {extension: count for extension, count in sorted(others.items()) if count}
        self._tops = self._split_folders()
        self.splits: tuple[str, ...] = ("train", "test") if "test" in self._tops.values() else ("train",)
        self.label_names = sorted({label for f in self._files if (label := self._label(f)) is not None})
        self._items: dict[str, list[Item]] | None = None
        self._deep: set[str] = set()

    def items(self, split: str) -> list[Item]:
        return self._read(None)[split]

    def fingerprint(self, progress: Advance | None = None) -> str:
        read = self._read(progress)
        rows = [[split, i.key, i.digest, i.label, i.caption] for split in self.splits for i in read[split]]
        if deep := sorted(self._deep):  # read in another way than before: stores of the old way are made again
            rows.append(["16 bits by those they use", *deep])
        return hashlib.sha256(repr(rows).encode()).hexdigest()

    def _walk(self, others: Counter[str]) -> None:
        waiting = [self.root]
        while waiting:
            folder = waiting.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError as error:
                self.refused[self._key(folder)] = f"folder not readable ({error.strerror})"
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                else:
                    self._assign(path, others)

    def _assign(self, path: Path, others: Counter[str]) -> None:
        """Assign a file to pictures, captions, refused or others."""
        key, extension = self._key(path), path.suffix.lower()
        picture = is_picture(path) if extension or not path.is_symlink() else False
        relevant = picture or is_sidecar(path) or path.name.lower() in METADATA
        if path.is_symlink() and (relevant or path.is_dir()):
            target = Path(os.path.realpath(path))
            if target.is_dir():
                self.refused[key] = "a link to a folder: copy the folder here"
                return
            if not target.exists() or target.is_symlink():
                self.refused[key] = "a link to nothing"
                return
            if not target.is_relative_to(self.root):
                self.refused[key] = "a link that leads out of the folder: copy the file here"
                return
        if not relevant and (why := why_not(path)):
            self.refused[key] = why
            return
        if not relevant:
            others[extension or "(none)"] += 1
            return
        try:
            status = path.stat()
        except OSError as error:
            self.refused[key] = f"not readable ({error.strerror})"
            return
        if not stat.S_ISREG(status.st_mode):
            self.refused[key] = "not a regular file"
        elif picture:
            self._files.append(PictureFile(key, path, status))
        elif path.name.lower() in METADATA:
            self._metadata.append(path)
        else:
            stem = key[: -len(extension)]
            self._texts[stem] = min((path, self._texts.get(stem, path)), key=rank)

    def _key(self, path: Path) -> str:
        """A path for people: relative, with `/`, unprintable characters escaped."""
        text = os.fsencode(path.relative_to(self.root)).decode("utf-8", "backslashreplace").replace(os.sep, "/")
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text) or "."

    def _split_folders(self) -> dict[str, str]:
        """The splits' folders: training and held out, or the only folder, for training. Refuses pictures elsewhere."""
        counts = Counter(file.key.split("/")[0] if "/" in file.key else "" for file in self._files)
        splits = {top: SPLITS[top.lower()] for top in sorted(counts) if top.lower() in SPLITS}
        train, held = ([f"{top}/" for top, split in splits.items() if split == name] for name in ("train", "test"))
        deeper = any(file.key.count("/") > 1 for file in self._files)
        if not train or not (held or (len(counts) == len(train) and deeper)):
            return {}
        others = [file for file in self._files if file.key.split("/")[0] not in splits]
        why = f"outside of {', '.join([*train, *held])}, the folders of the splits"
        self.refused |= {file.key: why for file in others}
        self._files = [file for file in self._files if file.key.split("/")[0] in splits]
        taken = f"{', '.join(train)} {'is' if len(train) == 1 else 'are'} taken for training"
        self.notes.append(f"{taken}, {', '.join(held)} {'is' if len(held) == 1 else 'are'} held out" if held else taken)
        return splits

    def _label(self, file: PictureFile) -> str | None:
        if file.key in self._captions and (label := self._captions[file.key].label) is not None:
            return label
        parents = file.key.split("/")[1 if self._tops else 0 : -1]
        return parents[0] if parents else None

    def _caption(self, file: PictureFile) -> str | None:
        if file.key in self._captions and (caption := self._captions[file.key].caption) is not None:
            return caption
        sidecar = self._texts.get(file.stem)
        return None if sidecar is None else read_sidecar(sidecar, file.key, self.notes)

    def _read(self, progress: Advance | None) -> dict[str, list[Item]]:
        """The items; digest and header come from the cache where a file is unchanged."""
        if self._items is not None:
            return self._items
        memory = Memory(f"{self.root}, {INDEX}")
        known = {file.key: memory.recall(file.key, file.stat) for file in self._files}
        missing = [file for file in self._files if known[file.key] is None]
        for done, (file, learned) in enumerate(zip(missing, ordered(_inspect, missing, 8), strict=True), 1):
            if isinstance(learned, PictureError):
                self.refused[file.key] = str(learned)
            else:
                memory.learn(file.key, file.stat, learned)
                known[file.key] = learned
            if progress is not None:
                progress(done, len(missing))
        memory.save({file.key for file in self._files})
        items: dict[str, list[Item]] = {split: [] for split in self.splits}
        for file in self._files:
            if (facts := known[file.key]) is not None:
                self._deep |= {file.key} if str(facts[-1]).endswith("16-bit") else set()
                items[self._tops.get(file.key.split("/")[0], "train")].append(self._item(file, facts))
        self._items = items
        return items

    def _item(self, file: PictureFile, facts: list) -> Item:
        size, crop = sides(self._data), self._data.crop
        # a JPEG is decoded at no less than twice the pixels that the crop keeps, so that no detail is lost
        shorter = None if size is None or crop == "pieces" else max(size) * (4 if crop == "tiles" else 2)
        limit = int(self._data.max_megapixels * 1e6)
        notes: list[str] = []
        return Item(
            key=file.key,
            label=self._label(file),
            caption=self._caption(file),
            digest=facts[0],
            read=partial(_read, file.path, facts[0], limit, shorter, notes),
            header=partial(_header, facts[1:]),
            notes=notes,
        )


def _inspect(file: PictureFile) -> list | PictureError:
    """[digest, height, width, mode], or [digest, reason] for a broken header."""
    try:
        with file.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return PictureError(f"not readable ({error.strerror})")
    try:
        claims = header(file.path)
    except ExtraError as error:  # not remembered: it may be installed tomorrow
        return error
    except PictureError as error:
        return [digest, str(error)]
    return [digest, claims.height, claims.width, claims.mode]


def _header(facts: list) -> Header:
    if len(facts) == 1:
        raise PictureError(facts[0])
    return Header(*facts)


def _read(path: Path, digest: str, max_pixels: int, shorter: int | None, notes: list[str]) -> np.ndarray:
    notes.clear()
    picture = decode(path, max_pixels=max_pixels, shorter=shorter, notes=notes)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise PictureError("changed while it was read: start again")
    return picture
