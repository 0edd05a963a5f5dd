"""CBSD68 with white noise: our photo model against FFDNet, DnCNN and methods of libraries; and seconds per megapixel.

Noise is added to floats and not clipped, outputs are rounded to 8 bits, PSNR is the mean over pictures: the protocol of
the FFDNet paper. Picture k has the noise of seed + k for every method. Claims: within 0.35 dB of FFDNet at each level;
at most 0.6 x its seconds per megapixel on 12 megapixels, with the same threads and dtype, and the best size of tiles
for FFDNet; 24 megapixels in under 2 GB.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import sfumato
from common import Cells, Figures, arguments, passed, run, set_threads, shelf, table
from denoise_peers import LIBRARY, MULTIPLE, REACH, Cleaner, DnCNN, FFDNet
from sfumato.denoising.denoise import anysize, best
from sfumato.denoising.tiles import Tiled
from sfumato.diffusion.level import Level
from sfumato.errors import UserError
from sfumato.models.model import Model
from sfumato.pictures import pixels

TILES = (512, 1024, 1536)  # of FFDNet
MARGIN, SPEED, MEMORY = 0.35, 0.6, 2000
PUBLISHED = {15: 33.87, 25: 31.21, 50: 27.96}  # of FFDNet


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "", n=68)
    p.add_argument("--model", default="photo", help="a shipped model or a run folder")
    p.add_argument("--sigmas", type=int, nargs="+", default=[15, 25, 50], help="noise where white is 255")
    p.add_argument("--only", nargs="+", default=["ours", "ffdnet", "dncnn", *LIBRARY], help="which methods")
    p.add_argument("--megapixels", type=float, default=12, help="of the picture that is timed; 0: no timing")
    p.add_argument("--rounds", type=int, default=5, help="of the timing, interleaved")
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    paths = sorted((shelf("cbsd68") / "cbsd68").glob("*.png"))[: args.n]
    model = sfumato.load(args.model)
    cells = Cells("denoise-photos", args)
    rows: dict[str, list[float]] = {}
    for name in args.only:
        label = model.name if name == "ours" else name
        for sigma in args.sigmas:
            settings = {"method": label, "sigma": sigma, "n": len(paths), "seed": args.seed}

            def figures(name: str = name, sigma: int = sigma) -> Figures:
                return {"psnr": psnr(cleaner(name, model), paths, sigma, args.seed)}

            found = cells.measure(f"{label.replace(' ', '-')}-{sigma}", settings, figures)["figures"]
            rows.setdefault(name, []).append(found["psnr"])
    table(f"CBSD68, {len(paths)} pictures, PSNR (dB)", ("method", *map(str, args.sigmas)),
          [[name, *(f"{v:.2f}" for v in values)] for name, values in rows.items()])  # fmt: skip
    if "ours" in rows and "ffdnet" in rows:
        for sigma, ours, theirs in zip(args.sigmas, rows["ours"], rows["ffdnet"], strict=True):
            passed(
                f"sigma {sigma}: ours {ours:.2f} dB, FFDNet {theirs:.2f}, at most {MARGIN} below",
                ours >= theirs - MARGIN,
            )
    if args.megapixels:
        f = cells.measure("speed", {"megapixels": args.megapixels, "model": model.name, "rounds": args.rounds},
                          lambda: speed(model, args))["figures"]  # fmt: skip
        print({key: value for key, value in f.items() if key != "rounds"})
        passed(f"seconds a megapixel, ours / FFDNet: {f['ratio']:.3f}, at most {SPEED}", f["ratio"] <= SPEED)
        f = cells.measure("memory", {"megapixels": 24, "model": model.name}, lambda: memory(args))["figures"]
        passed(f"24 megapixels by the command: {f['peak_mb']:.0f} MB at most, under {MEMORY}", f["peak_mb"] < MEMORY)


def cleaner(name: str, model: Model) -> Cleaner:
    if name == "ffdnet":
        return FFDNet()
    if name == "dncnn":
        return DnCNN()
    if name in LIBRARY:
        return LIBRARY[name]
    if name != "ours":
        raise UserError(f"no method {name}")
    ours = model.cleaner()

    def run(noisy: Tensor, sigma: float) -> Tensor:
        y = 2 * noisy - 1
        with torch.inference_mode():
            return (best(ours, anysize(ours, y), y, Level.of(2 * sigma), clipped=False) + 1) / 2

    return run


def psnr(clean: Cleaner, paths: list[Path], sigma: int, seed: int) -> float:
    """Mean over pictures; outputs rounded to 8 bits."""
    values = []
    for k, path in enumerate(paths):
        with Image.open(path) as image:
            true = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 255
        noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(seed + k))
        done = (clean(true + sigma / 255 * noise, sigma / 255).clamp(0, 1) * 255).round() / 255
        values.append(float(pixels.psnr((done - true).square().mean(), 1)))
    return float(np.mean(values))


def speed(model: Model, args: argparse.Namespace) -> Figures:
    """Seconds a megapixel through tiles, in the model's dtype, in turn; FFDNet with the tiles that suit it best."""
    side = int((args.megapixels * 1e6 * 1.5) ** 0.5), int((args.megapixels * 1e6 / 1.5) ** 0.5)
    noisy = torch.rand(1, 3, side[1], side[0], generator=torch.Generator().manual_seed(0))
    ours, net = cleaner("ours", model), FFDNet(bf16=model.precision == "bf16")

    def theirs(tile: int) -> Cleaner:
        return lambda x, sigma: Tiled(lambda part, level, cond=None: net(part, sigma), REACH, MULTIPLE, tile)(
            x, Level.of(sigma)
        )

    ways: dict[str, Cleaner] = {"ours": ours, **{f"ffdnet, tiles of {tile}": theirs(tile) for tile in TILES}}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, method in ways.items():
            began = time.perf_counter()
            method(noisy, 0.1)
            seconds[name].append((time.perf_counter() - began) / (noisy.shape[-1] * noisy.shape[-2] / 1e6))
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    best_tiles = min(list(ways)[1:], key=lambda name: medians[name])
    ratios = [a / b for a, b in zip(seconds["ours"], seconds[best_tiles], strict=True)]
    return {
        "seconds_a_megapixel": medians,
        "ratio": float(np.median(ratios)),
        "against": best_tiles,
        "rounds": seconds,
        "dtype": model.precision,
    }


def memory(args: argparse.Namespace) -> Figures:
    """The most that `sfumato denoise` holds while it cleans a JPEG of 24 megapixels, and its seconds."""
    folder = Path(tempfile.mkdtemp())
    try:
        noisy = np.random.default_rng(0).integers(0, 256, (4000, 6000, 3), dtype=np.uint8)
        Image.fromarray(noisy).save(folder / "a.jpg", quality=95)
        words = ["denoise", folder / "a.jpg", "-o", folder / "b.jpg", "-m", args.model, "--sigma", "0.1"]
        env = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "sfumato", *map(str, words)], check=True, env=env)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
        return {"peak_mb": round(peak, 1), "seconds": round(time.perf_counter() - began, 1)}
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    run(main)
