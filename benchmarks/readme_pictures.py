"""Draws the pictures of the README with the shipped models: without selection, with the seeds stated in this file.

`python benchmarks/readme_pictures.py` writes docs/pictures/. For the last picture it first
tunes `mini` on six drawings of a toy car, a minute on two free cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data

from sfumato.pictures.drawn import toycar
from sfumato.show.grid import grid, side_by_side
from sfumato.tuning.job import TuneJob
from sfumato.zoo import load

PAGES = Path(__file__).parent.parent / "docs" / "pictures"
NOISE = 25 / 255
SENTENCES = (
    "draw two penguins in front of a yellow wall",
    "a tomato on a black background",
    "a small rocket on a pink background",
    "a sunflower next to a tent",
    "three strawberries",
    "a large eggplant on a blue background",
)
NOUN = "automobile"
PLACES = (
    "a {}",
    "a {} on a red background",
    "a small {}",
    "a {} on the left",
    "a {} next to a rocket",
    "a large {}",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=Path, default=PAGES, help="folder of the pictures")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/readme"), help="folder of the toy car's drawings and LoRA"
    )
    args = parser.parse_args()
    args.pages.mkdir(parents=True, exist_ok=True)
    save(grid(load("cifar10").sample(24, seed=0), columns=12, scale=2), args.pages / "cifar10.png")
    drawn = load("mini").sample(len(SENTENCES), texts=list(SENTENCES), seed=0)
    save(grid(drawn, columns=6, captions=SENTENCES), args.pages / "mini.png")
    save(denoised(), args.pages / "denoise.jpg")
    save(tuned(args.work), args.pages / "tune.jpg")


def save(picture: Image.Image, file: Path) -> None:
    if file.suffix == ".jpg":
        picture.save(file, optimize=True, quality=92, subsampling=0)
    else:
        picture.save(file, optimize=True)
    print(f"{file}: {file.stat().st_size / 1e3:.0f} KB")


def denoised() -> Image.Image:
    """A photo with white noise of standard deviation 25 of 255, the result of `photo`, and the photo without noise."""
    true = data.chelsea()[20:276, 100:356]
    noise = np.random.default_rng(0).normal(0, NOISE, true.shape)
    noisy = np.rint((true / 255 + noise).clip(0, 1) * 255).astype(np.uint8)
    columns = {"with noise": noisy, "sfumato denoise": load("photo").denoise(noisy), "without noise": true}
    return side_by_side(
        {title: torch.from_numpy(each.transpose(2, 0, 1).copy())[None] for title, each in columns.items()}
    )


def tuned(work: Path) -> Image.Image:
    """Drawings of a toy car, pictures of an automobile by `mini`, and by `mini` with the LoRA from the same seeds."""
    photos = work / "car-photos"
    photos.mkdir(parents=True, exist_ok=True)
    for k, view in enumerate(toycar.VIEWS):
        toycar.draw(view).save(photos / f"{k}.png")
    result = TuneJob(photos, NOUN, out=work / "car").run()
    drawings = np.stack([np.asarray(toycar.draw(view)) for view in toycar.VIEWS]).transpose(0, 3, 1, 2)
    captions = [f"photo {k + 1}" for k in range(len(drawings))]
    rows = [drawings]
    for model, thing in ((load("mini"), NOUN), (load(result.folder), result.thing)):
        texts = [place.format(thing).replace("a auto", "an auto") for place in PLACES]
        rows.append(np.asarray(model.sample(len(texts), texts=texts, seed=0)))
        captions += texts
    return grid(np.concatenate(rows), columns=len(PLACES), captions=captions)


if __name__ == "__main__":
    main()
