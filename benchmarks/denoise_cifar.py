"""CIFAR-10 with noise of sigma 0.2: PSNR and SSIM of every denoiser, pure and clipped, in all usual conventions.

Rows are runs or shipped models, judged by `sfumato.judging.denoise`, and FFDNet, which was not trained on CIFAR.
Claims: BARS.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

import sfumato
from common import Cells, Figures, arguments, passed, run, set_threads, table
from denoise_peers import FFDNet
from sfumato.errors import UserError
from sfumato.judging.denoise import DenoiseVerdict, fidelity, judge_denoised, likeness, measure_cleaner
from sfumato.judging.noisy import Noisy
from sfumato.models.model import Model
from sfumato.pictures.pixels import from_uint8
from sfumato.pictures.store import open_store
from sfumato.recipe.recipe import load

WAYS = {
    "pure": Noisy(clip=False),
    "clipped": Noisy(),
    "clipped, naive": Noisy(correct=False),
    "pure, blind": Noisy(clip=False, blind=True),
    "clipped, blind": Noisy(blind=True),
    "pure, mirrored": Noisy(clip=False, mirror=True),
    "clipped, mirrored": Noisy(mirror=True),
}
RANDOM = "random levels"
BARS = {
    ("seed-denoise-v0", "pure"): (24.59, None),
    ("seed-denoise-v1", "clipped"): (25.11, 0.840),
    ("seed-denoise-v2", "pure"): (24.5, None),
    ("cifar10-denoise", "clipped"): (25.5, None),
}


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "", n=10_000)
    p.add_argument(
        "models",
        nargs="+",
        help="MODEL:WAY, as cifar10-denoise:clipped or ffdnet:pure; ways: " + "; ".join([*WAYS, RANDOM]),
    )
    p.add_argument("--sigma", type=float, default=0.2, help="noise where white is 1")
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    cells = Cells("denoise-cifar", args)
    found: dict[tuple[str, str], Figures] = {}
    for each in args.models:
        path, _, way = each.rpartition(":")
        name = Path(path).name
        if way not in (*WAYS, RANDOM):
            raise UserError(f"{each}: MODEL:WAY, where WAY is one of: {'; '.join([*WAYS, RANDOM])}")
        settings = {"model": name, "way": way, "sigma": args.sigma, "n": args.n, "seed": args.seed}

        def figures(path: str = path, way: str = way) -> Figures:
            return verdict(path, way, args).to_json()

        cell = f"{name}-{way.replace(', ', '-').replace(' ', '-')}"
        found[name, way] = cells.measure(cell, settings, figures)["figures"]
    rows = [
        [name, way, f"{f['psnr']['per_image']:.2f}", f"{f['psnr']['of_mean']:.2f}", f"{f['ssim']['uniform7']:.4f}",
         f"{f['ssim']['gauss11']:.4f}", f"{f['noisy']['psnr']['per_image']:.2f}", f"{f['ms_per_picture']:.2f}"]
        for (name, way), f in found.items()
    ]  # fmt: skip
    head = ("model", "noise", "PSNR", "of mean", "SSIM u7", "SSIM g11", "noisy PSNR", "ms/picture")
    table(f"CIFAR-10 test, {args.n} pictures, sigma {args.sigma:g}", head, rows)
    for (name, way), (psnr, ssim) in BARS.items():
        if (name, way) in found:
            f = found[name, way]
            value = f["psnr"]["per_image"]
            passed(f"{name}, {way}: {value:.2f} dB, at least {psnr}", value >= psnr)
            if ssim is not None:
                passed(
                    f"{name}, {way}: SSIM {f['ssim']['uniform7']:.4f}, at least {ssim}", f["ssim"]["uniform7"] >= ssim
                )


def verdict(path: str, way: str, args: argparse.Namespace) -> DenoiseVerdict:
    if path == "ffdnet":
        held = open_store(load("cifar10").data).held_out.pixels
        net = FFDNet()

        def clean(y: torch.Tensor) -> torch.Tensor:
            return 2 * net((y + 1) / 2, args.sigma) - 1

        return measure_cleaner(held, clean, args.sigma, WAYS[way]["clip"], args.n, args.seed)
    if way == RANDOM:
        return at_random(sfumato.load(path), args)
    return judge_denoised(path, replace(WAYS[way], sigma=args.sigma), n=args.n, seed=args.seed, data="cifar10")


def at_random(model: Model, args: argparse.Namespace) -> DenoiseVerdict:
    """One call at a level drawn for each picture as in training, which is no measure of a denoiser: most levels drown
    the picture. It is how a DDPM network gets 16 dB in the first seed project.
    """
    held = open_store(load("cifar10").data).held_out.pixels[: args.n]
    generator = torch.Generator().manual_seed(args.seed)
    rows: dict[str, list[tuple[float, float, float]]] = {"noisy": [], "denoised": []}
    began = time.perf_counter()
    for part in held.split(250):
        x0 = from_uint8(part)
        level = model.schedule.draw(torch.rand(len(x0), dtype=torch.float64, generator=generator))
        x = level.mix(x0, torch.randn(x0.shape, generator=generator))
        with torch.inference_mode():
            done = model.denoiser(x, level).clamp(-1, 1)
        for key, y in (("noisy", x), ("denoised", done)):
            rows[key] += [likeness((a + 1) / 2, (b + 1) / 2) for a, b in zip(y, x0, strict=True)]
    spent = 1000 * (time.perf_counter() - began) / len(held)
    return DenoiseVerdict(
        fidelity(rows["denoised"]), fidelity(rows["noisy"]), len(held), 0.0, False, False, spent, None, {}
    )


if __name__ == "__main__":
    run(main)
