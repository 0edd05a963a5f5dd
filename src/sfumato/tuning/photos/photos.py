"""Checks of the photos before training. Each result has its reasons; no photo is left out silently."""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.ndimage import laplace

from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.pictures.captions import METADATA, beside, is_sidecar
from sfumato.pictures.decode import PictureError, decode
from sfumato.pictures.kinds import EXTENSIONS, is_picture, why_not
from sfumato.tuning.photos.measures import CHECK_SIDE, Crop, colours, luma_of, perceptual_hash, square

FEWEST, MOST = 5, 100
ALIKE = 6  # most bits of 64 in which near-duplicates differ
TINTED = 16.0  # largest mean difference of their colours, of 255
BLURRED = 0.1  # a photo is blurred below this share of the median sharpness
DARK, BRIGHT, CLIPPED = 28.0, 232.0, 0.5  # mean luma; share of pixels at either end
FLAT = 4.0  # standard deviation of luma below which a photo shows nothing
NARROW = 2.5  # ratio of sides above which a square loses much of a photo

Use = Literal["use", "doubtful", "leave out"]


@dataclass(frozen=True)
class PhotoVerdict:
    """One photo: whether to use it and why, its size (height, width), and the crop that keeps the subject.

    sharpness: variance of the Laplacian relative to that of luma; light: mean luma, 0 to 255; twin: the photo of which
    it is a near-duplicate.
    """

    path: Path
    use: Use
    reasons: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    crop: Crop | None = None
    sharpness: float = 0.0
    light: float = 0.0
    twin: Path | None = None

    def to_json(self) -> Json:
        crop = [self.crop.left, self.crop.top, self.crop.side] if self.crop else None
        return {
            "file": self.path.name, "use": self.use, "reasons": list(self.reasons), "size": list(self.size),
            "crop": crop, "sharpness": round(self.sharpness, 4), "light": round(self.light, 1),
            "twin": self.twin.name if self.twin else None,
        }  # fmt: skip


@dataclass(frozen=True)
class PhotoReport:
    """All photos of a folder in the order of their names; captions: their own, by file; notes: other files."""

    verdicts: list[PhotoVerdict] = field(default_factory=list)
    captions: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def used(self) -> list[PhotoVerdict]:
        return [v for v in self.verdicts if v.use != "leave out"]

    def lines(self) -> list[str]:
        """One line for each photo that is not simply used, and one for all."""
        lines = [f"{v.path.name}: {v.use}: {'; '.join(v.reasons)}" for v in self.verdicts if v.reasons]
        return [f"{len(self.used)} of {len(self.verdicts)} photos are used", *lines, *self.notes]


@dataclass(frozen=True)
class _Checked:
    """Measurements of a photo: its verdict so far, a hash of 64 bits (empty if it cannot be read), its colours, and a
    digest of its pixels."""

    verdict: PhotoVerdict
    bits: np.ndarray
    colours: np.ndarray
    digest: bytes = b""

    def nearly(self, other: _Checked) -> bool:
        """Whether two photos are near-duplicates: similar in shape, and in colour without regard to exposure."""
        alike = int((self.bits != other.bits).sum()) <= ALIKE
        return alike and float(np.abs(self.colours - other.colours).mean()) < TINTED


def paths_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """The photos of a folder, and pictures of formats that are not read. Raises UserError, as `check`; decodes none."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give a folder with five to ten photos of one thing")
    files = sorted((p for p in folder.iterdir() if not p.name.startswith(".") and not p.is_dir()), key=_order)
    paths = [p for p in files if is_picture(p)]
    unread = [p for p in files if p not in paths and why_not(p)]
    if not paths:
        notes = _passed(folder, set(unread))
        below = f"; {notes[0]}" if notes else ""
        raise UserError(
            f"{folder} holds no photos ({', '.join(EXTENSIONS)}): put five to ten of one thing into it{below}"
        )
    if len(paths) > MOST:
        raise UserError(f"{folder} holds {len(paths)} photos: choose five to ten, {MOST} at most, or use sfumato train")
    return paths, unread


def check(folder: Path, side: int, progress: Callable[[int, int], None] | None = None) -> PhotoReport:
    """Check all photos of a folder, for training at `side` pixels.

    Left out are broken photos, near-duplicates except for the sharpest, and photos that show nothing; but at least five
    of the readable photos are kept. Other files and folders are named in the notes. Raises UserError: no folder, no
    photo, more than a hundred, or none readable.
    """
    paths, unread = paths_in(folder)
    others = [PhotoVerdict(path, "leave out", (why_not(path),)) for path in unread]
    notes = _passed(folder, {*paths, *unread})
    photos = []
    for k, path in enumerate(paths):
        photos.append(_by_itself(path, side))
        if progress is not None:
            progress(k + 1, len(paths))
    readable = [photo for photo in photos if len(photo.bits)]
    if not readable:
        first = f"{paths[0].name}: {photos[0].verdict.reasons[0]}"
        raise UserError(f"none of the {len(paths)} photos in {folder} can be read; {first}")
    verdicts = _against_each_other(photos, readable)
    captions = beside(paths, notes)
    return PhotoReport([*_enough(verdicts), *others], captions, notes)


def _order(path: Path) -> tuple[str, str]:
    """By name without the ending, so that "car.jpg" is before its copies "car (1).jpg" and "car copy.jpg"."""
    return path.stem, path.suffix


def _passed(folder: Path, named: set[Path]) -> list[str]:
    """A line for each other file and folder: why it is not used. Captions are used, and noted elsewhere if not."""
    lines = []
    for path in sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=_order):
        if path.is_dir():
            count = sum(is_picture(p) for p in path.rglob("*") if not p.name.startswith("."))
            lines += [f"{path.name}/: not used: photos in subfolders ({count}): move them up"] if count else []
        elif path not in named and not is_sidecar(path) and path.name.lower() not in METADATA:
            lines.append(f"{path.name}: not used: not a picture")
    return lines


def _by_itself(path: Path, side: int) -> _Checked:
    """A photo by itself."""
    notes: list[str] = []
    try:
        picture = decode(path, notes=notes)
    except (PictureError, OSError) as error:
        return _Checked(PhotoVerdict(path, "leave out", (str(error),)), np.zeros(0, bool), np.zeros(0))
    height, width = picture.shape[:2]
    small = luma_of(picture, min(CHECK_SIDE, side))
    sharpness, light = float(laplace(small).var() / max(small.var(), 1.0)), float(small.mean())
    reasons: list[str] = []
    use: Use = "use"
    if small.std() < FLAT:
        use, reasons = "leave out", ["it shows nothing: all of it has one tone"]
    elif min(height, width) < side // 2:
        use, reasons = "leave out", [f"{width}x{height} is too small for training at {side} pixels"]
    elif min(height, width) < side:
        use, reasons = "doubtful", [f"{width}x{height} is enlarged to {side} pixels and becomes soft"]
    dark, bright = float(np.mean(small <= 4)), float(np.mean(small >= 251))
    doubts = {
        "very dark": light < DARK or dark > CLIPPED,
        "very bright, with much of it white": light > BRIGHT or bright > CLIPPED,
        "so narrow that a square loses most of it": max(height, width) > NARROW * min(height, width),
    }
    if any(doubts.values()):
        use = "leave out" if use == "leave out" else "doubtful"
        reasons += [why for why, holds in doubts.items() if holds]
    verdict = PhotoVerdict(path, use, (*reasons, *notes), (height, width), square(picture), sharpness, light)
    digest = hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).digest()
    return _Checked(verdict, perceptual_hash(small), colours(picture), digest)


def _against_each_other(photos: Sequence[_Checked], readable: Sequence[_Checked]) -> list[PhotoVerdict]:
    """Leave out near-duplicates (of equal pictures all but the first), and photos more blurred than the others."""
    usual = float(np.median([photo.verdict.sharpness for photo in readable]))
    kept: list[_Checked] = []
    changed: dict[Path, PhotoVerdict] = {}
    for photo in sorted(readable, key=lambda each: (each.verdict.use == "leave out", -each.verdict.sharpness)):
        verdict = photo.verdict
        twin = next((k for k in kept if k.nearly(photo)), None)
        if twin is not None:
            why = _likeness(photo, twin)
            verdict = replace(verdict, use="leave out", reasons=(*verdict.reasons, why), twin=twin.verdict.path)
        else:
            kept.append(photo)
            if verdict.sharpness < BLURRED * usual:
                share = verdict.sharpness / usual
                why = f"blurred: {share:.0%} of the others' sharpness"
                verdict = replace(verdict, use="leave out", reasons=(*verdict.reasons, why))
        changed[verdict.path] = verdict
    return [changed.get(photo.verdict.path, photo.verdict) for photo in photos]


def _likeness(photo: _Checked, twin: _Checked) -> str:
    """What a photo that is left out has in common with its twin."""
    name = twin.verdict.path.name
    if photo.digest != twin.digest:
        return f"nearly the same picture as {name}, which is sharper"
    equal = filecmp.cmp(photo.verdict.path, twin.verdict.path, shallow=False)
    return f"the same {'file' if equal else 'picture'} as {name}"


def _enough(verdicts: list[PhotoVerdict]) -> list[PhotoVerdict]:
    """Take readable photos back, the best first, until there are five."""
    missing = FEWEST - sum(v.use != "leave out" for v in verdicts)
    back = sorted(
        (v for v in verdicts if v.use == "leave out" and v.crop is not None),
        key=lambda v: (v.twin is not None, -v.sharpness),
    )[: max(0, missing)]
    reason = "used anyway, because there are so few photos"
    return [replace(v, use="doubtful", reasons=(*v.reasons, reason)) if v in back else v for v in verdicts]
