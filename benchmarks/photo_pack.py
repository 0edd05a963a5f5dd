"""Writes the training pictures of a photo denoiser into one file: sharp, without noise, colour at full resolution.

    python benchmarks/photo_pack.py OUT.safetensors

Photos are scaled down until the JPEG's half-resolution colour and the sensor's noise are gone. `photo_split.yaml` lists
the training pictures; others are never used. BSDS500 is stored as JPEG (with its quantisation tables, in crops aligned
to its blocks) and read twice: at full size, and scaled down by half.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, JpegImagePlugin

from photo_drawn import synthetic
from sfumato.errors import UserError

__all__ = ["names", "pack", "synthetic", "unpack"]
WALLPAPERS = Path("/usr/share/backgrounds")
PACKAGES = "mate-backgrounds gnome-backgrounds lomiri-wallpapers"
THIRD, LONG = 3, 1536  # a wallpaper is reduced by three or more, to at most so many pixels
PHOTO, GRAPHIC, FILE, BLOCK = 704, 448, (304, 288), 16  # sides of crops; a JPEG's block of 4:2:0
DRAWN, SIDE = 3000, 128  # drawings and their side
TWICE, HALVED = "bsds/", "bsds-half/"
Row = tuple[str, bytes]


@functools.cache
def split() -> dict[str, Any]:
    """The lists of `photo_split.yaml`."""
    found: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("photo_split.yaml").read_text(encoding="utf-8"))
    return found


def pack(out: Path, data: Path) -> None:
    """Write the training pack; data: a folder with bsds500/ and dreambooth/. Raises UserError if pictures are missing.

    Tensors: `bytes` uint8, picture files one after the other; `offsets` int64 (N + 1). Metadata `names`: a JSON list of
    KIND/NAME.
    """
    from safetensors.numpy import save_file

    rows = [*_wallpapers("wallpapers", PHOTO), *_wallpapers("graphics", GRAPHIC), *_dreambooth(data), *_bsds(data)]
    rows += _drawings()
    offsets = np.cumsum([0, *(len(file) for _, file in rows)], dtype=np.int64)
    tensors: dict[str, np.ndarray] = {
        "bytes": np.frombuffer(b"".join(file for _, file in rows), np.uint8),
        "offsets": offsets,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out, {"names": json.dumps([name for name, _ in rows])})


def unpack(path: Path) -> list[np.ndarray]:
    """All pictures of a pack, uint8 (H, W, 3), in the order of `names`."""
    found: list[np.ndarray] = []
    for name, file in _files(path):
        image = Image.open(io.BytesIO(file)).convert("RGB")
        found += [np.asarray(each) for each in ((image, smaller(image, 2)) if name.startswith(TWICE) else (image,))]
    return found


def names(path: Path) -> list[str]:
    """KIND/NAME of what `unpack` gives: wallpapers, graphics, dreambooth, bsds (as it is), bsds-half, drawn."""
    pairs = ((name, name.replace(TWICE, HALVED, 1)) if name.startswith(TWICE) else (name,) for name, _ in _files(path))
    return [name for pair in pairs for name in pair]


def _files(path: Path) -> Iterator[Row]:
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        blob, offsets = file.get_tensor("bytes"), file.get_tensor("offsets")
        known = json.loads(file.metadata()["names"])
    for name, begin, end in zip(known, offsets[:-1], offsets[1:], strict=True):
        yield name, blob[begin:end].tobytes()


def smaller(image: Image.Image, factor: float) -> Image.Image:
    """Reduced by a factor, Lanczos in the pixel's own values, as people's programs do."""
    return image.resize((round(image.width / factor), round(image.height / factor)), Image.Resampling.LANCZOS)


def wallpaper(name: str) -> Image.Image:
    """One of Debian's wallpapers, RGB, reduced by three or more. Raises UserError if it is not installed."""
    path = WALLPAPERS / name
    if not path.is_file():
        raise UserError(f"{path} is missing: apt-get install {PACKAGES}")
    with Image.open(path) as image:
        return smaller(image.convert("RGB"), max(THIRD, max(image.size) / LONG))


def richest(image: Image.Image, wide: int, tall: int) -> Image.Image:
    """The crop of at most wide x tall pixels with the most detail, of a grid of places an eighth of a crop apart."""
    wide, tall = min(wide, image.width), min(tall, image.height)
    grey = np.asarray(image.convert("L"), np.float64)
    detail = np.zeros(grey.shape)
    detail[1:, 1:] = np.abs(np.diff(grey, axis=0)[:, 1:]) + np.abs(np.diff(grey, axis=1)[1:])
    total = np.pad(np.minimum(detail, 40).cumsum(0).cumsum(1), ((1, 0), (1, 0)))  # 40: edges are not all
    places = [(y, x) for y in range(0, grey.shape[0] - tall + 1, max(1, tall // 8))
              for x in range(0, grey.shape[1] - wide + 1, max(1, wide // 8))]  # fmt: skip
    y, x = max(places, key=lambda p: total[p[0] + tall, p[1] + wide] - total[p[0], p[1] + wide]
               - total[p[0] + tall, p[1]] + total[p[0], p[1]])  # fmt: skip
    return image.crop((x, y, x + wide, y + tall))


def lossless(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=100, method=4)
    return buffer.getvalue()


def _wallpapers(kind: str, side: int) -> Iterator[Row]:
    for name in split()[kind]["train"]:
        yield f"{kind}/{name}", lossless(richest(wallpaper(name), side, 3 * side // 4))


def dreambooth(data: Path, part: str) -> Iterator[tuple[str, Image.Image]]:
    """DreamBooth's photos of one part, reduced by half. Raises UserError if there are none."""
    for subject in split()["dreambooth"][part]:
        paths = sorted((data / "dreambooth" / subject).glob("*.jpg"))
        if not paths:
            raise UserError(f"{data} has no dreambooth/{subject}: bring it there, or name another folder")
        for path in paths:
            with Image.open(path) as image:
                yield f"dreambooth/{subject}-{path.stem}", smaller(image.convert("RGB"), 2)


def _dreambooth(data: Path) -> Iterator[Row]:
    for name, image in dreambooth(data, "train"):
        yield name, lossless(image)


def _bsds(data: Path) -> Iterator[Row]:
    """Crops along the blocks, written with the file's own tables: hardly changed (50 dB), and a third smaller."""
    paths = sorted((data / "bsds500").glob("*/*.jpg"))
    if not paths:
        raise UserError(f"{data} has no bsds500: bring it there, or name another folder")
    for path in paths:
        with Image.open(path) as image:
            wide, tall = FILE if image.width > image.height else FILE[::-1]
            left, top = (
                (side - kept) // 2 // BLOCK * BLOCK for side, kept in zip(image.size, (wide, tall), strict=True)
            )
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            tables, sampling = image.quantization, JpegImagePlugin.get_sampling(image)
            crop, buffer = image.convert("RGB").crop((left, top, left + wide, top + tall)), io.BytesIO()
        crop.save(buffer, "JPEG", qtables=tables, subsampling=sampling, optimize=True, progressive=True)
        yield f"bsds/{path.stem}", buffer.getvalue()


def _drawings() -> Iterator[Row]:
    for k, picture in enumerate(synthetic(DRAWN, np.random.default_rng(0), SIDE)):
        yield f"drawn/{k}", lossless(Image.fromarray(picture))


def main() -> None:
    from common import shelf

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    out = p.parse_args().out
    pack(out, shelf("bsds500", "dreambooth"))
    kinds: dict[str, list[float]] = {}
    for name, picture in zip(names(out), unpack(out), strict=True):
        kinds.setdefault(name.partition("/")[0], []).append(picture.shape[0] * picture.shape[1] / 1e6)
    for kind, sizes in kinds.items():
        print(f"{kind:12} {len(sizes):5} pictures {sum(sizes):7.2f} megapixels")
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    from common import run

    run(main)
