"""Photo files cleaned: what is read, what is written, and where."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sfumato.denoising.cleaner import Cleaner
from sfumato.denoising.denoise import Cleaning, Told, denoise, posterior_samples
from sfumato.denoising.levels import level_of_photo
from sfumato.denoising.noise import Estimate, estimate
from sfumato.denoising.photo import SUFFIXES, Photo, check_fits, put, read
from sfumato.errors import UserError
from sfumato.files import aside, sync
from sfumato.pictures.decode import UPRIGHT

REMOVED = 4  # how much the removed noise is enlarged in the picture of --show
WIDE, GAP = 640, 8  # of each part of that picture, at most, and between them
UNSURE = 0.1  # standard deviation, where white is 1, that is white in the picture of uncertainty
UNKNOWN = (".bmp", ".gif", ".jpe", ".jfif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".ppm", ".psd", ".pdf", ".svg")
LOOKED = 512  # side of the parts of a large photo that its noise is read from


@dataclass(frozen=True)
class Order:
    """What is asked for: sigma None: estimated; `samples` pictures that the photo may have been; show: a picture of
    before, after and what was removed; overwrite: replace files that are there; mirror: see `denoise.mirrored`.
    """

    sigma: float | np.ndarray | None = None
    strength: float = 1.0
    samples: int = 0
    seed: int = 0
    show: bool = False
    overwrite: bool = False
    mirror: bool = False


@dataclass(frozen=True)
class Cleaned:
    """A photo that was cleaned: the files written, the clean one first, and in words the noise found, if it was looked
    for.
    """

    source: Path
    written: list[Path]
    sigma: float
    found: str
    words: str


def plan(given: Sequence[Path], out: Path, order: Order = Order()) -> list[tuple[Path, Path]]:
    """Which file becomes which. Folders stand for all photos in them, and patterns for all files they match.

    One photo and an `out` with a picture's ending is that file; else `out` is a folder, made if need be, in which
    photos of folders keep their place. Raises UserError: nothing there, a folder that is missing, a file in the
    folder's place, an ending that is no known picture's, two files that would be one.
    """
    pairs: list[tuple[Path, Path]] = []
    for path in given:
        try:
            pairs += _named(path, out)
        except (OSError, ValueError) as error:  # a name that is too long, a folder that is closed, a pattern as a**b
            raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    ending = out.suffix.lower()
    if len(given) == 1 and not given[0].is_dir() and len(pairs) == 1 and ending in SUFFIXES and not out.is_dir():
        if not out.absolute().parent.is_dir():
            raise UserError(f"{out}: the folder {out.parent} does not exist: make it, or choose another --out")
        return [(pairs[0][0], out)]
    if ending in SUFFIXES and not out.is_dir():
        raise UserError(f"{out}: {len(pairs)} photos do not fit into one file: name a folder")
    if ending in UNKNOWN and not out.is_dir():
        raise UserError(f"{out}: unknown picture format {ending}; known: {', '.join(SUFFIXES)}")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a folder")
    planned = [(photo, out / place) for photo, place in pairs]
    counts = Counter(place for _, target in planned for place in outputs(target, order).all)
    for place, count in counts.items():
        if count > 1:
            raise UserError(f"two pictures would become {place}: clean their photos in two commands")
    return planned


def _named(path: Path, out: Path) -> list[tuple[Path, Path]]:
    """The photos that one argument stands for, and their place in a folder."""
    if path.is_dir():
        return [(photo, photo.relative_to(path)) for photo in _photos(path, path.rglob("*"), out)]
    if path.exists():
        return [(path, Path(path.name))]
    if any(sign in str(path) for sign in "*?["):
        first = next(k for k, part in enumerate(path.parts) if any(sign in part for sign in "*?["))
        found = Path(*path.parts[:first]).glob(str(Path(*path.parts[first:])))
        return [(photo, Path(photo.name)) for photo in _photos(path, found, out)]
    raise UserError(f"{path}: the file is not there")


def _photos(asked: Path, found: Iterable[Path], out: Path) -> list[Path]:
    """Photos among files, sorted, without what lies in `out`. Raises UserError if there are none."""
    photos = sorted(p for p in found if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file())
    inside = out.absolute()
    if asked.is_dir() and inside != asked.absolute():
        photos = [p for p in photos if inside not in p.absolute().parents]
    if not photos:
        raise UserError(f"{asked} holds no photos ({', '.join(SUFFIXES)})" if asked.is_dir() else f"{asked}: no photos")
    return photos


@dataclass(frozen=True)
class Outputs:
    """The files that come of one photo: itself clean, its samples, and pictures of their spread and of the noise."""

    photos: list[Path]
    spread: Path | None
    shown: Path | None

    @property
    def all(self) -> list[Path]:
        return [*self.photos, *(place for place in (self.spread, self.shown) if place)]


def outputs(target: Path, order: Order) -> Outputs:
    """What `clean` writes for a photo that becomes `target`."""
    samples = [_beside(target, f"-{k + 1}") for k in range(order.samples)]
    spread = _beside(target, "-uncertainty", ".png") if order.samples > 1 else None
    return Outputs([target, *samples], spread, _beside(target, "-show", ".png") if order.show else None)


def clean(cleaner: Cleaner, source: Path, target: Path, order: Order, told: Told | None = None) -> Cleaned:
    """Clean one photo file. Raises UserError, one line with the file's name; nothing is written then."""
    places = outputs(target, order)
    for place in places.all:
        if place.exists() and not order.overwrite:
            raise UserError(f"{place} exists: --overwrite replaces it")
        if place.is_dir():
            raise UserError(f"{place} is a folder: move it away, or choose another --out")
    photo = read(source)
    check_fits(photo, target)
    try:
        made = clean_photo(cleaner, photo, order, told)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    with contextlib.ExitStack() as stack:  # all of it or nothing
        asides = {place: stack.enter_context(aside(place)) for place in places.all}
        for pixels, place in zip([made.pixels, *made.samples], places.photos, strict=True):
            put(photo, pixels, asides[place], place)
        if places.spread is not None:
            upright(uncertainty(made.samples, photo.top), photo).save(asides[places.spread], format="PNG")
        if places.shown is not None:
            triptych(photo, made.pixels).save(asides[places.shown], format="PNG")
        for written in asides.values():
            sync(written)
    level = float(np.mean(made.sigma))
    return Cleaned(source, places.all, level, made.found, photo.words())


@dataclass(frozen=True)
class CleanPhoto:
    """pixels, samples: of the photo's shape and type; sigma: used, where white is 1; found: the noise in words, if it
    was looked for."""

    pixels: np.ndarray
    samples: list[np.ndarray]
    sigma: float | np.ndarray
    found: str


def clean_photo(cleaner: Cleaner, photo: Photo, order: Order, told: Told | None = None) -> CleanPhoto:
    """Clean a photo that was read; CMYK as colours and black. Raises UserError."""
    parts = [photo.pixels] if photo.pixels.shape[2] < 4 else [photo.pixels[..., :3], photo.pixels[..., 3:]]
    sigma, found = (order.sigma, "") if order.sigma is not None else noise_in(cleaner, photo)
    how = Cleaning(order.strength, mirror=order.mirror, told=told)
    made = [denoise(cleaner, part, sigma, how) for part in parts]
    drawn = [
        posterior_samples(cleaner, part, order.samples, sigma, how, seed=order.seed) for part in parts if order.samples
    ]
    samples = [np.concatenate(each, 2) for each in zip(*drawn, strict=True)]
    return CleanPhoto(np.concatenate(made, 2), samples, sigma, found)


def noise_in(cleaner: Cleaner, photo: Photo) -> tuple[float, str]:
    """The noise of a photo as the cleaner reads it, or estimated from the photo alone; and in words."""
    if cleaner.part is not None and photo.pixels.shape[2] in (1, cleaner.channels):
        level = level_of_photo(cleaner, photo.pixels)
        return level, f"noise of sigma {level:.3f} ({255 * level:.1f} of 255), as {cleaner.name} reads it"
    found = noise_of(photo)
    return found.sigma, found.words()


def _beside(path: Path, more: str, suffix: str | None = None) -> Path:
    return path.with_name(f"{path.stem}{more}{suffix or path.suffix}")


def noise_of(photo: Photo) -> Estimate:
    """The noise of a photo, of a large one by sixteen parts of it."""
    pixels, (height, width) = photo.pixels[..., :3], photo.pixels.shape[:2]
    if height * width > 16 * LOOKED**2 and min(height, width) >= LOOKED:
        tops = np.linspace(0, height - LOOKED, 4).astype(int)
        lefts = np.linspace(0, width - LOOKED, 4).astype(int)
        pixels = np.concatenate([
            np.concatenate([pixels[y : y + LOOKED, x : x + LOOKED] for x in lefts], 1) for y in tops
        ])  # fmt: skip
    return estimate(pixels / np.float32(photo.top))


def triptych(photo: Photo, after: np.ndarray) -> Image.Image:
    """Before | after | what was removed, REMOVED times enlarged around grey.

    Of a large photo the part with most detail, pixel by pixel, since noise does not survive reduction.
    """
    scale = 255 / photo.top
    before, now = (p.astype(np.float32) * scale for p in _window(photo.pixels, after))
    removed = 127.5 + REMOVED * (before - now)
    parts = [upright(_image(np.rint(p).clip(0, 255).astype(np.uint8)), photo) for p in (before, now, removed)]
    sheet = Image.new("RGB", (sum(p.width for p in parts) + 2 * GAP, parts[0].height), "white")
    for k, part in enumerate(parts):
        sheet.paste(part, (k * (part.width + GAP), 0))
    return sheet


def _window(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same WIDE x WIDE part of both, where the clean picture varies most; smaller pictures whole."""
    height, width = after.shape[:2]
    spots = [
        (y, x)
        for y in range(0, max(1, height - WIDE + 1), WIDE // 2)
        for x in range(0, max(1, width - WIDE + 1), WIDE // 2)
    ]
    y, x = max(spots, key=lambda spot: float(after[spot[0] : spot[0] + WIDE : 4, spot[1] : spot[1] + WIDE : 4].std()))
    return before[y : y + WIDE, x : x + WIDE], after[y : y + WIDE, x : x + WIDE]


def uncertainty(samples: Sequence[np.ndarray], top: int) -> Image.Image:
    """Where the samples differ: their standard deviation, white where it is a tenth of white or more."""
    mean, square = (np.zeros(samples[0][..., :3].shape, np.float32) for _ in range(2))
    for sample in samples:
        values = sample[..., :3].astype(np.float32) / top
        mean += values / len(samples)
        square += values**2 / len(samples)
    spread = np.sqrt(np.maximum(square - mean**2, 0)).mean(2)
    return Image.fromarray(np.rint(255 * (spread / UNSURE).clip(0, 1)).astype(np.uint8))


def upright(image: Image.Image, photo: Photo) -> Image.Image:
    """A picture of the photo's pixels, turned as its EXIF orientation says."""
    turn = UPRIGHT.get(photo.orientation)
    return image if turn is None else image.transpose(turn)


def _image(pixels: np.ndarray) -> Image.Image:
    kinds = {1: "L", 3: "RGB", 4: "CMYK"}
    values = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    return Image.fromarray(values, kinds[pixels.shape[2]]).convert("RGB")
