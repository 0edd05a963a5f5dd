"""Checks of the photos before training. Each result has its reasons; no photo is left out silently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter, laplace, sobel

from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.pictures.decode import PictureError, decode
from sfumato.pictures.kinds import EXTENSIONS

FEWEST, MOST = 5, 100
OTHERS = (".gif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".psd")
UNREAD = "a format that is not supported: save it as JPEG or PNG"
CHECK_SIDE = 256  # longer side at which sharpness and brightness are measured
ALIKE = 6  # most bits of 64 in which near-duplicates differ
TINTED = 16.0  # largest mean difference of their colours, of 255
BLURRED = 0.1  # a photo is blurred below this share of the median sharpness
DARK, BRIGHT, CLIPPED = 28.0, 232.0, 0.5  # mean luma; share of pixels at either end
FLAT = 4.0  # standard deviation of luma below which a photo shows nothing
NARROW = 2.5  # ratio of sides above which a square loses much of a photo

Use = Literal["use", "doubtful", "leave out"]


@dataclass(frozen=True)
class Crop:
    """The square of a photo that is used for training: its corner and side, in pixels."""

    left: int
    top: int
    side: int


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
    """All photos of a folder in the order of their names."""

    verdicts: list[PhotoVerdict] = field(default_factory=list)

    @property
    def used(self) -> list[PhotoVerdict]:
        return [v for v in self.verdicts if v.use != "leave out"]

    def lines(self) -> list[str]:
        """One line for each photo that is not simply used, and one for all."""
        lines = [f"{v.path.name}: {v.use}: {'; '.join(v.reasons)}" for v in self.verdicts if v.reasons]
        return [f"{len(self.used)} of {len(self.verdicts)} photos are used", *lines]


@dataclass(frozen=True)
class _Checked:
    """Measurements of a photo: its verdict so far, a hash of 64 bits (empty if it cannot be read), its colours."""

    verdict: PhotoVerdict
    bits: np.ndarray
    colours: np.ndarray

    def nearly(self, other: _Checked) -> bool:
        """Whether two photos are near-duplicates: similar in shape, and in colour without regard to exposure."""
        alike = int((self.bits != other.bits).sum()) <= ALIKE
        return alike and float(np.abs(self.colours - other.colours).mean()) < TINTED


def check(folder: Path, side: int, progress: Callable[[int, int], None] | None = None) -> PhotoReport:
    """Check all photos of a folder, for training at `side` pixels.

    Left out are broken photos, near-duplicates except for the sharpest, and photos that show nothing; but at least five
    of the readable photos are kept. Raises UserError: no folder, no photo, more than a hundred, or none readable.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: give a folder with five to ten photos of one thing")
    files = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    paths = [p for p in files if p.suffix.lower() in EXTENSIONS]
    others = [PhotoVerdict(p, "leave out", (UNREAD,)) for p in files if p.suffix.lower() in OTHERS]
    if not paths:
        raise UserError(f"{folder} holds no photos ({', '.join(EXTENSIONS)}): put five to ten of one thing into it")
    if len(paths) > MOST:
        raise UserError(f"{folder} holds {len(paths)} photos: choose five to ten, {MOST} at most, or use sfumato train")
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
    return PhotoReport([*_enough(verdicts), *others])


def _by_itself(path: Path, side: int) -> _Checked:
    """A photo by itself."""
    try:
        picture = decode(path)
    except (PictureError, OSError) as error:
        return _Checked(PhotoVerdict(path, "leave out", (str(error),)), np.zeros(0, bool), np.zeros(0))
    height, width = picture.shape[:2]
    small = _luma(picture, min(CHECK_SIDE, side))
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
    verdict = PhotoVerdict(path, use, tuple(reasons), (height, width), square(picture), sharpness, light)
    return _Checked(verdict, perceptual_hash(small), colours(picture))


def _against_each_other(photos: Sequence[_Checked], readable: Sequence[_Checked]) -> list[PhotoVerdict]:
    """Leave out near-duplicates, and photos that are blurred compared with the others."""
    usual = float(np.median([photo.verdict.sharpness for photo in readable]))
    kept: list[_Checked] = []
    changed: dict[Path, PhotoVerdict] = {}
    for photo in sorted(readable, key=lambda each: (each.verdict.use == "leave out", -each.verdict.sharpness)):
        verdict = photo.verdict
        twin = next((k for k in kept if k.nearly(photo)), None)
        if twin is not None:
            why = f"nearly the same picture as {twin.verdict.path.name}, which is sharper"
            verdict = replace(verdict, use="leave out", reasons=(*verdict.reasons, why), twin=twin.verdict.path)
        else:
            kept.append(photo)
            if verdict.sharpness < BLURRED * usual:
                share = verdict.sharpness / usual
                why = f"blurred: {share:.0%} of the others' sharpness"
                verdict = replace(verdict, use="leave out", reasons=(*verdict.reasons, why))
        changed[verdict.path] = verdict
    return [changed.get(photo.verdict.path, photo.verdict) for photo in photos]


def _enough(verdicts: list[PhotoVerdict]) -> list[PhotoVerdict]:
    """Take readable photos back, the best first, until there are five."""
    missing = FEWEST - sum(v.use != "leave out" for v in verdicts)
    back = sorted(
        (v for v in verdicts if v.use == "leave out" and v.crop is not None),
        key=lambda v: (v.twin is not None, -v.sharpness),
    )[: max(0, missing)]
    reason = "used anyway, because there are so few photos"
    return [replace(v, use="doubtful", reasons=(*v.reasons, reason)) if v in back else v for v in verdicts]


def perceptual_hash(luma: np.ndarray) -> np.ndarray:
    """64 bits, nearly equal for near-duplicates: which low frequencies of the cosine transform exceed the median."""
    small = np.asarray(Image.fromarray(luma.astype(np.uint8)).resize((32, 32), Image.Resampling.LANCZOS), np.float64)
    low = dctn(small, norm="ortho")[:8, :8].ravel()
    bits: np.ndarray = low > np.median(low[1:])
    return bits


def colours(picture: np.ndarray) -> np.ndarray:
    """A picture reduced to 8 x 8 pixels, less its mean, float (8, 8, 3)."""
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).convert("RGB")
    small = np.asarray(image.resize((8, 8), Image.Resampling.BOX, reducing_gap=2.0), np.float64)
    centred: np.ndarray = small - small.mean()
    return centred


def square(picture: np.ndarray) -> Crop:
    """The largest square of a picture, uint8 (H, W, C), with most of its detail, preferably in the middle."""
    height, width = picture.shape[:2]
    side = min(height, width)
    if height == width:
        return Crop(0, 0, side)
    luma = _luma(picture).astype(np.float64)
    detail = np.hypot(sobel(luma, 0), sobel(luma, 1))
    detail = np.minimum(detail, np.quantile(detail, 0.98))  # one edge is not the subject
    along = gaussian_filter(detail, 2).sum(axis=0 if width > height else 1)
    middle = np.linspace(-1, 1, len(along))
    along = along * (1 - 0.3 * middle**2)
    window = max(1, round(len(along) * side / max(height, width)))
    sums = np.convolve(along, np.ones(window), "valid")
    at = int(np.argmax(sums)) / max(1, len(along) - window)
    start = round(at * (max(height, width) - side))
    return Crop(start, 0, side) if width > height else Crop(0, start, side)


def _luma(picture: np.ndarray, longer: int = CHECK_SIDE) -> np.ndarray:
    """Luma with `longer` pixels along the longer side, float (h, w)."""
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).convert("L")
    scale = longer / max(image.size)
    size = max(8, round(image.width * scale)), max(8, round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), np.float64)
