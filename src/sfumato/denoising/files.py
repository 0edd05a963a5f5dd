"""Cleans photo files, and draws what was removed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sfumato.denoising.cleaner import Cleaner
from sfumato.denoising.denoise import Cleaning, OnTile, denoise, posterior_samples
from sfumato.denoising.levels import level_of_photo
from sfumato.denoising.noise import Estimate, estimate
from sfumato.denoising.photo import Photo, check_fits, kept_back, put, read
from sfumato.denoising.places import Order, outputs
from sfumato.errors import UserError
from sfumato.files import aside, sync
from sfumato.pictures.decode import UPRIGHT

REMOVED = 4  # factor of the removed noise in the picture of --show
WIDE, GAP = 640, 8  # that picture's parts: largest side, and pixels between them
UNSURE = 0.1  # standard deviation, where white is 1, that is shown white in the picture of uncertainty
LOOKED = 512  # side of the parts of a large photo from which its noise is estimated


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


def clean(cleaner: Cleaner, source: Path, target: Path, order: Order, on_tile: OnTile | None = None) -> Cleaned:
    """Clean one photo file. Raises UserError, one line with the file's name; nothing is written then."""
    places = outputs(target, order)
    for place in places.all:
        if place.exists() and not order.overwrite:
            raise UserError(f"{place} exists: --overwrite replaces it")
        if place.is_dir():
            raise UserError(f"{place} is a folder: move it away, or choose another --out")
    photo = read(source, page=order.page)
    check_fits(photo, target)
    if photo.pages > 1 and target.exists() and target.samefile(source):
        raise UserError(f"{source}: has {photo.pages} pages, and one would take the place of all: choose another --out")
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
    return Cleaned(source, places.all, level, made.found, photo.words(), (*photo.notes, *kept_back(photo, target)))


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
