"""Cleans photo files: which are read, which are written, and where."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sfumato.denoising.cleaner import Cleaner
from sfumato.denoising.denoise import Cleaning, OnTile, denoise, posterior_samples
from sfumato.denoising.levels import level_of_photo
from sfumato.denoising.noise import Estimate, estimate
from sfumato.denoising.photo import SUFFIXES, Photo, check_fits, kept_back, put, read
from sfumato.errors import UserError
from sfumato.files import aside, sync
from sfumato.pictures.decode import UPRIGHT

REMOVED = 4  # factor of the removed noise in the picture of --show
WIDE, GAP = 640, 8  # that picture's parts: largest side, and pixels between them
UNSURE = 0.1  # standard deviation, where white is 1, that is shown white in the picture of uncertainty
UNKNOWN = (".bmp", ".gif", ".jpe", ".jfif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".ppm", ".psd", ".pdf", ".svg")
LOOKED = 512  # side of the parts of a large photo from which its noise is estimated


@dataclass(frozen=True)
class Order:
    """Settings of cleaning a file. sigma: None: estimated; strength, mirror: see `denoise.Cleaning`; samples: number of
    posterior samples to write; seed: of the samples; show: also write a picture of before, after and the removed noise;
    overwrite: replace existing files.
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
    """A photo that was cleaned. written: files, the clean photo first; sigma: that was used, the mean of a map; found:
    the estimated noise as a text, "" if sigma was given; words: the photo's format as a text; notes: what is not
    kept, and how an unusual file was read.
    """

    source: Path
    written: list[Path]
    sigma: float
    found: str
    words: str
    notes: tuple[str, ...] = ()


def plan(given: Sequence[Path], out: Path, order: Order = Order()) -> list[tuple[Path, Path]]:
    """Pairs of photo and target file. Folders stand for all photos in them, and patterns for all files they match.

    For one photo, `out` may be a file with a picture's suffix; else `out` is a folder, created if necessary, in which
    photos of folders keep their relative paths. Raises UserError: no such file, a missing folder, a file in place of
    the folder, an unknown suffix, or two photos with the same target.
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
    """The photos of one argument, and their relative paths in the output folder."""
    if path.is_dir():
        return [(photo, photo.relative_to(path)) for photo in _photos(path, path.rglob("*"), out)]
    if path.exists():
        return [(path, Path(path.name))]
    if any(sign in str(path) for sign in "*?["):
        first = next(k for k, part in enumerate(path.parts) if any(sign in part for sign in "*?["))
        matches = Path(*path.parts[:first]).glob(str(Path(*path.parts[first:])))
        return [(photo, Path(photo.name)) for photo in _photos(path, matches, out)]
    raise UserError(f"{path}: the file is not there")


def _photos(path: Path, files: Iterable[Path], out: Path) -> list[Path]:
    """The photos among files, sorted, without those in `out`. Raises UserError if there are none."""
    photos = sorted(p for p in files if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file())
    inside = out.absolute()
    if path.is_dir() and inside != path.absolute():
        photos = [p for p in photos if inside not in p.absolute().parents]
    if not photos:
        raise UserError(f"{path} holds no photos ({', '.join(SUFFIXES)})" if path.is_dir() else f"{path}: no photos")
    return photos


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


def clean(cleaner: Cleaner, source: Path, target: Path, order: Order, on_tile: OnTile | None = None) -> Cleaned:
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
        made = clean_photo(cleaner, photo, order, on_tile)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    with contextlib.ExitStack() as stack:  # all files or none
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
    return Cleaned(source, places.all, level, made.found, photo.words(), tuple(kept_back(photo, target)))


@dataclass(frozen=True)
class CleanPhoto:
    """pixels, samples: of the photo's shape and type; sigma: that was used, where white is 1; found: the estimated
    noise as a text, "" if sigma was given."""

    pixels: np.ndarray
    samples: list[np.ndarray]
    sigma: float | np.ndarray
    found: str


def clean_photo(cleaner: Cleaner, photo: Photo, order: Order, on_tile: OnTile | None = None) -> CleanPhoto:
    """Clean a photo in memory; of CMYK, colours and black are cleaned separately. Raises UserError."""
    parts = [photo.pixels] if photo.pixels.shape[2] < 4 else [photo.pixels[..., :3], photo.pixels[..., 3:]]
    sigma, found = (order.sigma, "") if order.sigma is not None else noise_in(cleaner, photo)
    how = Cleaning(order.strength, mirror=order.mirror, on_tile=on_tile)
    made = [denoise(cleaner, part, sigma, how) for part in parts]
    drawn = [
        posterior_samples(cleaner, part, order.samples, sigma, how, seed=order.seed) for part in parts if order.samples
    ]
    samples = [np.concatenate(each, 2) for each in zip(*drawn, strict=True)]
    return CleanPhoto(np.concatenate(made, 2), samples, sigma, found)


def noise_in(cleaner: Cleaner, photo: Photo) -> tuple[float, str]:
    """The noise of a photo, estimated by the cleaner's network if it can do that, else without one; and as a text."""
    if cleaner.part is not None and photo.pixels.shape[2] in (1, cleaner.channels):
        level = level_of_photo(cleaner, photo.pixels)
        return level, f"noise of sigma {level:.3f} ({255 * level:.1f} of 255), as {cleaner.name} reads it"
    noise = noise_of(photo)
    return noise.sigma, noise.words()


def _beside(path: Path, more: str, suffix: str | None = None) -> Path:
    return path.with_name(f"{path.stem}{more}{suffix or path.suffix}")


def noise_of(photo: Photo) -> Estimate:
    """The noise of a photo, estimated from sixteen parts of a large one."""
    pixels, (height, width) = photo.pixels[..., :3], photo.pixels.shape[:2]
    if height * width > 16 * LOOKED**2 and min(height, width) >= LOOKED:
        tops = np.linspace(0, height - LOOKED, 4).astype(int)
        lefts = np.linspace(0, width - LOOKED, 4).astype(int)
        pixels = np.concatenate([
            np.concatenate([pixels[y : y + LOOKED, x : x + LOOKED] for x in lefts], 1) for y in tops
        ])  # fmt: skip
    return estimate(pixels / np.float32(photo.top))


def triptych(photo: Photo, after: np.ndarray) -> Image.Image:
    """Before | after | the removed noise, multiplied by REMOVED, on grey.

    Of a large photo only the part with the most detail is shown, unscaled: scaling down would remove the noise.
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
    """A picture of the photo's pixels, rotated by its EXIF orientation."""
    turn = UPRIGHT.get(photo.orientation)
    return image if turn is None else image.transpose(turn)


def _image(pixels: np.ndarray) -> Image.Image:
    kinds = {1: "L", 3: "RGB", 4: "CMYK"}
    values = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    return Image.fromarray(values, kinds[pixels.shape[2]]).convert("RGB")
