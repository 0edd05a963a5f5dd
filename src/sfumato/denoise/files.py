"""Photo files cleaned: what is read, what is written, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from sfumato.denoise.denoise import Told, denoise
from sfumato.denoise.noise import Estimate, estimate
from sfumato.denoise.photo import SUFFIXES, Photo, read, write
from sfumato.errors import UserError

if TYPE_CHECKING:
    from sfumato.model import Model

REMOVED = 4  # how much the removed noise is enlarged in the picture of --show
WIDE = 640  # of each part of that picture
LOOKED = 512  # side of the parts of a large photo that its noise is read from


@dataclass(frozen=True)
class Order:
    """What is asked for: sigma None: estimated; `samples` pictures that the photo may have been; show: a picture of
    before, after and what was removed; overwrite: replace files that are there.
    """

    sigma: float | np.ndarray | None = None
    strength: float = 1.0
    samples: int = 0
    seed: int = 0
    show: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Cleaned:
    """A photo that was cleaned: the files written, the clean one first, and the noise found, if it was looked for."""

    source: Path
    written: list[Path]
    sigma: float
    found: Estimate | None
    words: str


def plan(given: Sequence[Path], out: Path) -> list[tuple[Path, Path]]:
    """Which file becomes which. Folders stand for all photos in them, and patterns for all files they match.

    One photo and an `out` with a picture's ending is that file; else `out` is a folder, made if need be, in which
    photos of folders keep their place. Raises UserError: nothing there, a folder that is missing, two would be one.
    """
    pairs: list[tuple[Path, Path]] = []
    for path in given:
        if path.is_dir():
            photos = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            if not photos:
                raise UserError(f"{path} holds no photos ({', '.join(SUFFIXES)})")
            pairs += [(photo, photo.relative_to(path)) for photo in photos]
        elif path.exists():
            pairs.append((path, Path(path.name)))
        elif any(sign in path.name for sign in "*?["):
            photos = sorted(p for p in path.parent.glob(path.name) if p.suffix.lower() in SUFFIXES)
            if not photos:
                raise UserError(f"{path}: nothing matches")
            pairs += [(photo, Path(photo.name)) for photo in photos]
        else:
            raise UserError(f"{path}: the file is not there")
    single = len(given) == 1 and not given[0].is_dir() and len(pairs) == 1
    if single and out.suffix.lower() in SUFFIXES and not out.is_dir():
        if not out.absolute().parent.is_dir():
            raise UserError(f"{out}: the folder {out.parent} does not exist: make it, or choose another --out")
        return [(pairs[0][0], out)]
    if out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise UserError(f"{out}: {len(pairs)} photos do not fit into one file: name a folder")
    targets = [out / place for _, place in pairs]
    for target in targets:
        if targets.count(target) > 1:
            raise UserError(f"two photos would become {target}: clean them in two commands")
    return [(photo, target) for (photo, _), target in zip(pairs, targets, strict=True)]


def clean(model: Model, source: Path, target: Path, order: Order, told: Told | None = None) -> Cleaned:
    """Clean one photo file. Raises UserError, one line with the file's name; nothing is written then."""
    places = [target, *(beside(target, f"-{k + 1}") for k in range(order.samples))]
    spread = beside(target, "-uncertainty", ".png") if order.samples > 1 else None
    shown = beside(target, "-show", ".png") if order.show else None
    for place in [*places, *(p for p in (spread, shown) if p)]:
        if place.exists() and not order.overwrite:
            raise UserError(f"{place} exists: --overwrite replaces it")
    photo = read(source)
    found = None if order.sigma is not None else noise_of(photo)
    sigma = found.sigma if found is not None else order.sigma
    parts = [photo.pixels] if photo.pixels.shape[2] < 4 else [photo.pixels[..., :3], photo.pixels[..., 3:]]
    try:
        made = [denoise(model, part, sigma, strength=order.strength, told=told) for part in parts]
        drawn = [
            denoise(model, part, sigma, strength=order.strength, samples=order.samples, seed=order.seed, told=told)
            for part in parts
            if order.samples
        ]
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    after = np.concatenate(made, 2)
    samples = [np.concatenate(each, 2) for each in zip(*drawn, strict=True)]
    target.parent.mkdir(parents=True, exist_ok=True)
    written = [write(photo, pixels, place) for pixels, place in zip([after, *samples], places, strict=True)]
    if spread is not None:
        written.append(picture(uncertainty(samples, photo.top), spread))
    if shown is not None:
        written.append(picture(triptych(photo, after), shown))
    level = float(np.mean(sigma)) if sigma is not None else 0.0
    return Cleaned(source, written, level, found, photo.words())


def beside(path: Path, more: str, suffix: str | None = None) -> Path:
    return path.with_name(f"{path.stem}{more}{suffix or path.suffix}")


def noise_of(photo: Photo) -> Estimate:
    """The noise of a photo, of a large one by sixteen parts of it."""
    pixels, (height, width) = photo.pixels[..., :3], photo.pixels.shape[:2]
    if height * width <= 16 * LOOKED**2:
        return estimate(pixels / np.float32(photo.top))
    tops = np.linspace(0, max(0, height - LOOKED), 4).astype(int)
    lefts = np.linspace(0, max(0, width - LOOKED), 4).astype(int)
    parts = [pixels[y : y + LOOKED, x : x + LOOKED] for y in tops for x in lefts]
    found = sorted((estimate(part / np.float32(photo.top)) for part in parts), key=lambda each: each.sigma)
    return found[len(found) // 4]  # textured parts read too high


def triptych(photo: Photo, after: np.ndarray) -> Image.Image:
    """Before | after | what was removed, REMOVED times enlarged around grey."""
    scale = 255 / photo.top
    before, now = (p[..., :3].astype(np.float32) * scale for p in (photo.pixels, after))
    removed = 127.5 + REMOVED * (before - now)
    parts = [_small(np.rint(p).clip(0, 255).astype(np.uint8)) for p in (before, now, removed)]
    sheet = Image.new("RGB", (sum(p.width for p in parts) + 16, parts[0].height), "white")
    for k, part in enumerate(parts):
        sheet.paste(part, (k * (part.width + 8), 0))
    return sheet


def uncertainty(samples: Sequence[np.ndarray], top: int) -> Image.Image:
    """Where the samples differ: their standard deviation, brightest where it is largest."""
    stack = np.stack([sample[..., :3].astype(np.float32) / top for sample in samples])
    spread = stack.std(0).mean(2)
    return Image.fromarray(np.rint(255 * spread / max(float(spread.max()), 1e-6)).astype(np.uint8))


def picture(image: Image.Image, path: Path) -> Path:
    from sfumato.files import aside

    with aside(path) as temporary:
        image.save(temporary, format="PNG")
    return path


def _small(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    if image.width > WIDE:
        image = image.resize((WIDE, max(1, round(image.height * WIDE / image.width))), Image.Resampling.LANCZOS)
    return image
