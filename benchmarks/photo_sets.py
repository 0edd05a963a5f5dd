"""The sets of `photos_real.py`: rows of cases, which are generated during each iteration."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from photo_cases import SHOT, Case, camera, jpeg, screens, stripes, text, white
from photo_pack import dreambooth, richest, smaller, split, wallpaper

T = TypeVar("T")
Row = tuple[str, Case]
Set = Callable[[Path, int, int], Iterator[Row]]
Pictures = dict[str, np.ndarray]
SIDE, PART = 512, 256  # of test crops, and of those that are measured often
LOW, ALL = (1, 2, 3, 5, 10, 15, 25), (1, 2, 3, 5, 10, 15, 25, 50)  # noise, of 255
QUALITIES = (10, 20, 30, 50, 70, 90)
MODES = ("float", "8 bits")
SEEDS = 3  # of each drawn picture's noise
ROUGH = ("12084", "108005", "109053", "134035", "148089", "163085", "170057", "175043", "220075", "291000", "33039")


def skimage_picture(name: str) -> Image.Image:
    """A picture that comes with scikit-image, RGB."""
    import skimage

    with Image.open(Path(skimage.__file__).parent / "data" / name) as image:
        return image.convert("RGB")


def few(pictures: dict[str, T], n: int) -> dict[str, T]:
    """At most n of them, evenly spread."""
    names = list(pictures)
    kept = sorted({round(k) for k in np.linspace(0, len(names) - 1, min(n, len(names)))})
    return {names[k]: pictures[names[k]] for k in kept}


def crop(image: Image.Image, side: int) -> np.ndarray:
    return np.asarray(richest(image, side, side))


@functools.cache
def photos(data: Path, side: int = SIDE) -> Pictures:
    """Sharp test photos: wallpapers reduced by three, DreamBooth's by two, scikit-image's as they are."""
    found = {name: crop(wallpaper(name), side) for name in split()["wallpapers"]["test"]}
    found |= {name: crop(image, side) for name, image in dreambooth(data, "test")}
    return found | {name: crop(skimage_picture(name), side) for name in split()["skimage"]["test"]}


def graphics(side: int = SIDE) -> Pictures:
    """Drawn wallpapers and drawings of our own."""
    return {name: crop(wallpaper(name), side) for name in split()["graphics"]["test"]} | screens()


def sharp(data: Path, n: int, seed: int) -> Iterator[Row]:
    """White noise on sharp pictures, as floats and as 8 bits; the level is known."""
    for kind, pictures in (("photos", few(photos(data), n)), ("graphics", few(graphics(), n))):
        for mode in MODES:
            for sigma in ALL:
                for k, (name, clean) in enumerate(pictures.items()):
                    yield f"{kind}, {mode}, {sigma}", white(name, clean, sigma, seed + k, mode == "8 bits")


def drawn(data: Path, n: int, seed: int) -> Iterator[Row]:
    """Stripes and text, 8 bits: clean and called 1, then noisy."""
    for name, clean in (stripes() | {"text of 11 px": text()}).items():
        yield f"{name}, clean", Case(name, clean, clean, 1 / 255)
        for sigma in LOW:
            for k in range(min(n, SEEDS)):
                yield f"{name}, {sigma}", white(f"seed {k}", clean, sigma, seed + k, True)


def cbsd68(data: Path, n: int, seed: int) -> Iterator[Row]:
    """CBSD68 with the noise of `denoise_photos.py`."""
    paths = sorted((data / "cbsd68").glob("*.png"))[:n]
    for sigma in (15, 25, 50):
        for k, path in enumerate(paths):
            clean = np.asarray(Image.open(path).convert("RGB"))
            noise = torch.randn(1, 3, *clean.shape[:2], generator=torch.Generator().manual_seed(seed + k))
            noisy = clean / np.float32(255) + np.float32(sigma / 255) * noise[0].permute(1, 2, 0).numpy()
            yield str(sigma), Case(path.stem, clean, noisy, sigma / 255)


def polyu(data: Path, n: int, seed: int) -> Iterator[Row]:
    """Pairs of real noise; the level is not known."""
    paths = {path.stem[:-5]: path for path in sorted((data / "polyu").glob("*_real.JPG"))}
    for name, path in few(paths, n).items():
        pair = [np.asarray(Image.open(each).convert("RGB")) for each in (path, f"{data}/polyu/{name}_mean.JPG")]
        yield "PolyU", Case(name, pair[1], pair[0])


def jpegs(data: Path, n: int, seed: int) -> Iterator[Row]:
    """JPEG's own noise, and white noise of 20 that went through a JPEG."""
    for k, (name, clean) in enumerate(few(photos(data, PART), n).items()):
        for quality in QUALITIES:
            yield f"quality {quality}", Case(name, clean, jpeg(clean, quality))
        yield "noise 20, then 75", Case(name, clean, jpeg(white(name, clean, 20, seed + k, True).noisy, 75))


def raw(data: Path, n: int, seed: int) -> Iterator[Row]:
    """Noise put in before demosaicking; the truth is the same camera without noise."""
    for k, (name, picture) in enumerate(few(photos(data, PART), n).items()):
        for way in ("bilinear", "malvar"):
            for level, shot in SHOT.items():
                noisy = camera(picture, shot, way, np.random.default_rng(seed + k))
                yield f"{way}, {level}", Case(name, camera(picture, shot, way, None), noisy)


def texture(data: Path, n: int, seed: int) -> Iterator[Row]:
    """Grass, stone, bark, leaves, cloth, crowds without noise: nothing is to be removed."""
    paths = {name: data / "cbsd68" / f"{name}.png" for name in ROUGH}
    whole = {name: Image.open(path).convert("RGB") for name, path in paths.items()}
    cloth = {name: image for name, image in dreambooth(data, "test") if "backpack" in name}
    rows = {
        "scikit-image, grey": {name: skimage_picture(name) for name in split()["texture"]["skimage"]},
        "wallpapers": {name: wallpaper(name) for name in split()["wallpapers"]["test"]},
        "cloth": cloth,
        "CBSD68 halved": {name: smaller(image, 2) for name, image in whole.items()},
        "CBSD68 as it is": whole,
    }
    for row, images in rows.items():
        for name, picture in few({name: crop(image, PART) for name, image in images.items()}, n).items():
            yield row, Case(name, picture, picture)


def blind(data: Path, n: int, seed: int) -> Iterator[Row]:
    """White noise in 8 bits whose level is not known."""
    for k, (name, clean) in enumerate(few(photos(data, PART), n).items()):
        for sigma in (5, 15, 25, 50):
            case = white(name, clean, sigma, seed + k, True)
            yield str(sigma), Case(name, clean, case.noisy)


SETS: dict[str, Set] = {
    "sharp": sharp, "drawn": drawn, "cbsd68": cbsd68, "polyu": polyu, "jpeg": jpegs, "raw": raw, "texture": texture,
    "blind": blind,
}  # fmt: skip
