"""The mean of K posterior samples: its squared error against the theoretical one, 1 + 1/K times the least.

CIFAR-10's test pictures with unclipped noise. The least is the squared error of one call of the denoiser; the
theoretical gap in decibels is 10 log10(1 + 1/K). Claim: within 0.3 dB for K = 1, 2, 4, 8.
"""

from __future__ import annotations

import argparse
import math
import time

import torch

import sfumato
from common import Cells, Figures, arguments, passed, run, set_threads, table
from sfumato.denoising.posterior import STEPS, posterior
from sfumato.diffusion.level import Level
from sfumato.models.model import Model, picture_generators
from sfumato.pictures.pixels import from_uint8
from sfumato.pictures.store import open_store
from sfumato.recipe.recipe import load

WITHIN = 0.3
BATCH = 125


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "", n=1000)
    p.add_argument("--model", default="cifar10", help="a shipped model or a run folder")
    p.add_argument("--sigma", type=float, default=0.2, help="noise where white is 1")
    p.add_argument("--samples", type=int, nargs="+", default=[1, 2, 4, 8], help="K")
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    model = sfumato.load(args.model)
    settings = {"model": model.name, "sigma": args.sigma, "samples": args.samples, "steps": STEPS, "n": args.n,
                "seed": args.seed}  # fmt: skip
    cells = Cells("posterior", args)
    f = cells.measure(model.name, settings, lambda: errors(model, args))["figures"]
    rows = []
    for k in args.samples:
        theory, found = 10 * math.log10(1 + 1 / k), f["psnr_of_mean"]["one call"] - f["psnr_of_mean"][str(k)]
        rows.append([k, f"{f['psnr_of_mean'][str(k)]:.2f}", f"{found:.2f}", f"{theory:.2f}"])
    table(f"{model.name}: one call {f['psnr_of_mean']['one call']:.2f} dB, {args.n} pictures, sigma {args.sigma:g}",
          ("K", "PSNR of the mean error", "below one call", "theory"), rows)  # fmt: skip
    worst = max(abs(float(row[2]) - float(row[3])) for row in rows)
    passed(f"farthest from theory: {worst:.2f} dB, at most {WITHIN}", worst <= WITHIN)


@torch.inference_mode()
def errors(model: Model, args: argparse.Namespace) -> Figures:
    """PSNR, from the mean squared error over all pictures, of one call and of the mean of K samples."""
    cleaner = model.cleaner()
    pictures = open_store(load("cifar10").data).held_out.pixels[: args.n]
    most, sigma = max(args.samples), 2 * args.sigma
    total = dict.fromkeys(["one call", *map(str, args.samples)], 0.0)
    began = time.perf_counter()
    for first in range(0, len(pictures), BATCH):
        x0 = from_uint8(pictures[first : first + BATCH])
        own = picture_generators(args.seed + first, len(x0))

        def fresh(own: list[torch.Generator] = own, x0: torch.Tensor = x0) -> torch.Tensor:
            return torch.stack([torch.randn(x0.shape[1:], generator=g) for g in own])

        y = x0 + sigma * fresh()
        cond = cleaner.condition(False, len(y))
        found = {"one call": model.denoiser(y, Level.of(sigma), cond)}
        drawn = posterior(model.denoiser, y, sigma, most, cond=cond, noise=lambda j, fresh=fresh: fresh)
        found |= {str(k): drawn[:k].mean(0) for k in args.samples}
        for key, x in found.items():
            total[key] += float((x - x0).square().flatten(1).mean(1).double().sum())
        print(f"{first + len(x0):>6} of {len(pictures)}", flush=True)
    seconds = time.perf_counter() - began
    psnr = {key: 10 * math.log10(4 * len(pictures) / value) for key, value in total.items()}
    return {"psnr_of_mean": psnr, "ms_per_sample": 1000 * seconds / len(pictures) / most}


if __name__ == "__main__":
    run(main)
