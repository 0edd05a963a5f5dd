"""Tiles against whole pictures: the largest difference, on twenty odd sizes, with tiles of random sizes.

The model is the shipped one, the pictures are CBSD68's photos side by side in [0, 1], with noise. Claim: the difference
is at most 1/255 everywhere.
"""

from __future__ import annotations

import argparse
import random

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import sfumato
from common import Cells, Figures, arguments, passed, run, set_threads, shelf, table
from sfumato.denoising.denoise import Cleaning

BAR = 1 / 255
SIZES = [
    (17, 1), (1, 17), (2, 3), (31, 33), (64, 64), (65, 63), (127, 255), (321, 481), (333, 77), (511, 513), (600, 899),
    (768, 1025), (1023, 640), (1, 1500), (1500, 2), (1111, 777), (999, 1001), (1280, 853), (1537, 900), (1537, 2049),
]  # fmt: skip


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "")
    p.add_argument("--model", default="photo", help="a shipped model or a run folder")
    p.add_argument("--sigma", type=float, default=0.1, help="noise where white is 1")
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    settings = {"model": args.model, "sigma": args.sigma, "sizes": SIZES}
    cell = Cells("tiles", args).measure(args.model, settings, lambda: compared(args))
    rows = [[f"{r['height']} x {r['width']}", r["tile"], f"{255 * r['most']:.3f}"] for r in cell["figures"]["rows"]]
    table(f"{args.model}, sigma {args.sigma:g}: tiles against the whole", ("size", "tile", "most, of 255"), rows)
    worst = max(r["most"] for r in cell["figures"]["rows"])
    passed(f"largest difference {255 * worst:.3f} of 255, at most 1", worst <= BAR)


def compared(args: argparse.Namespace) -> Figures:
    model = sfumato.load(args.model)
    rng = random.Random(args.seed)
    rows = []
    for height, width in SIZES:
        x = noisy(height, width, args)
        tile = rng.randrange(16, max(32, max(height, width)))
        whole = model.denoise(x, sigma=args.sigma, cleaning=Cleaning(tile=1 << 20))
        parts = model.denoise(x, sigma=args.sigma, cleaning=Cleaning(tile=tile))
        rows.append({"height": height, "width": width, "tile": tile, "most": float((whole - parts).abs().max())})
        print(rows[-1], flush=True)
    return {"rows": rows, "precision": model.precision}


def noisy(height: int, width: int, args: argparse.Namespace) -> Tensor:
    """A part of a wall of photos, with noise, float (3, H, W)."""
    paths = sorted((shelf("cbsd68") / "cbsd68").glob("*.png"))[:42]
    photos = [np.asarray(Image.open(p).convert("RGB"))[:320, :320] for p in paths]
    wall = np.concatenate([np.concatenate(photos[7 * k : 7 * k + 7], 1) for k in range(6)], 0)
    x = torch.from_numpy(wall.transpose(2, 0, 1)[:, :height, :width].copy()).float() / 255
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(args.seed))
    return (x + args.sigma * noise).clamp(0, 1)


if __name__ == "__main__":
    run(main)
