"""Which photo files are read, and where the cleaned ones are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfumato.denoising.photo import SUFFIXES
from sfumato.errors import UserError
from sfumato.files import check_folder
from sfumato.pictures.kinds import EXTENSIONS, RAW, READ, UNREAD, is_picture, kind_of_file, why_not

UNWRITTEN = frozenset({*EXTENSIONS, *RAW, *UNREAD, ".pdf"} - {*SUFFIXES})


@dataclass(frozen=True)
class Order:
    """Settings of cleaning a file. sigma: None: estimated; strength, mirror: see `denoise.Cleaning`; samples: number of
    posterior samples to write; seed: of the samples; show: also write a picture of before, after and the removed noise;
    overwrite: replace existing files; page: of a file with several, from 1, None for the first.
    """

    sigma: float | np.ndarray | None = None
    strength: float = 1.0
    samples: int = 0
    seed: int = 0
    show: bool = False
    overwrite: bool = False
    mirror: bool = False
    page: int | None = None


def plan(given: Sequence[Path], out: Path, order: Order = Order()) -> list[tuple[Path, Path]]:
    """Pairs of photo and target file. Folders stand for all photos in them, and patterns for all files they match.

    For one photo, `out` may be a file with a picture's suffix; else `out` is a folder, created if necessary, in which
    photos of folders keep their relative paths. Formats that are only read (BMP, GIF, AVIF, HEIC, raw) become PNG.
    Raises UserError: no such file, a missing folder, a file in place of the folder, an unknown suffix, or two photos
    with the same target.
    """
    pairs: list[tuple[Path, Path]] = []
    for path in given:
        try:
            pairs += _named(path, out)
        except (
            OSError,
            ValueError,
        ) as error:  # a name that is too long, a folder without permission, a pattern such as a**b
            raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    ending = out.suffix.lower()
    if len(given) == 1 and not given[0].is_dir() and len(pairs) == 1 and ending in SUFFIXES and not out.is_dir():
        if not out.absolute().parent.is_dir():
            raise UserError(f"{out}: the folder {out.parent} does not exist: make it, or choose another --out")
        check_folder(out.parent)
        return [(pairs[0][0], out)]
    if ending in SUFFIXES and not out.is_dir():
        raise UserError(f"{out}: {len(pairs)} photos do not fit into one file: name a folder")
    if ending in UNWRITTEN and not out.is_dir():
        raise UserError(f"{out}: unknown picture format {ending}; known: {', '.join(SUFFIXES)}")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a folder")
    check_folder(out)
    planned = [(photo, out / place) for photo, place in pairs]
    counts = Counter(place for _, target in planned for place in outputs(target, order).all)
    for place, count in counts.items():
        if count > 1:
            raise UserError(f"two pictures would become {place}: clean their photos in two commands")
    return planned


def _named(path: Path, out: Path) -> list[tuple[Path, Path]]:
    """The photos of one argument, and their relative paths in the output folder."""
    if path.is_dir():
        photos = [photo for photo in _files(path, out) if readable(photo)]
        if not photos:
            raise UserError(f"{path} holds no photos ({', '.join(EXTENSIONS)}, or raw files)")
        return [(photo, _written(photo, photo.relative_to(path))) for photo in photos]
    if path.exists():
        return [(path, _written(path, Path(path.name)))]
    if any(sign in str(path) for sign in "*?["):
        first = next(k for k, part in enumerate(path.parts) if any(sign in part for sign in "*?["))
        matches = Path(*path.parts[:first]).glob(str(Path(*path.parts[first:])))
        photos = sorted(p for p in matches if not p.name.startswith(".") and p.is_file() and readable(p))
        if not photos:
            raise UserError(f"{path}: no photos")
        return [(photo, _written(photo, Path(photo.name))) for photo in photos]
    raise UserError(f"{path}: the file is not there")


def readable(path: Path) -> bool:
    """Whether a file counts as a photo: by its ending or, without one, by its first bytes."""
    return path.suffix.lower() in RAW or is_picture(path)


def unused(given: Sequence[Path], out: Path) -> list[tuple[Path, str]]:
    """The files in folders that `plan` passes over, with reasons; hidden ones and those in `out` do not count."""
    folders = [path for path in given if path.is_dir()]
    others = [path for folder in folders for path in _files(folder, out) if not readable(path)]
    return [(path, why_not(path) or "not a picture") for path in others]


def _files(folder: Path, out: Path) -> list[Path]:
    """The files in a folder and its subfolders, sorted, without hidden ones and those in `out`."""
    files = sorted(path for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file())
    inside = out.absolute()
    return files if inside == folder.absolute() else [p for p in files if inside not in p.absolute().parents]


def _written(photo: Path, place: Path) -> Path:
    """The place with an ending that can be written: PNG for formats that are only read, a new one where none is."""
    if place.suffix.lower() in SUFFIXES:
        return place
    if place.suffix.lower() in RAW or (place.suffix and is_picture(photo)):
        return place.with_suffix(".png")
    endings = READ.get(kind_of_file(photo), (".png",))
    return place.with_name(place.name + (endings[0] if endings[0] in SUFFIXES else ".png"))


@dataclass(frozen=True)
class Outputs:
    """The files written for one photo: the clean photo, its samples, pictures of their spread and of the noise."""

    photos: list[Path]
    spread: Path | None
    shown: Path | None

    @property
    def all(self) -> list[Path]:
        return [*self.photos, *(place for place in (self.spread, self.shown) if place)]


def outputs(target: Path, order: Order) -> Outputs:
    """The files that `clean` writes for a photo with the target `target`."""
    samples = [_beside(target, f"-{k + 1}") for k in range(order.samples)]
    spread = _beside(target, "-uncertainty", ".png") if order.samples > 1 else None
    return Outputs([target, *samples], spread, _beside(target, "-show", ".png") if order.show else None)


def _beside(path: Path, more: str, suffix: str | None = None) -> Path:
    return path.with_name(f"{path.stem}{more}{suffix or path.suffix}")
