"""The cost of the training loop: the share of the time that is forward, backward and optimiser.

Every repeat trains the smallest preset twice for the same number of steps: by our loop, which logs the share, and by a
bare loop with the same network, batch, precision and loss, its data in memory, without EMA, clipping or bookkeeping.
Checkpoints and previews are turned off. Claim: at least 95 % of the time is forward, backward and optimiser.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from common import Cells, Figures, arguments, passed, run, set_threads, shelf, table
from sfumato.diffusion.denoiser import Preconditioned, conditioned
from sfumato.diffusion.loss import denoising_loss
from sfumato.models.named import net_of, schedule_of
from sfumato.pictures.store import open_store
from sfumato.pictures.stored import Store
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.progress import Event, Report
from sfumato.recipe import recipe as recipes
from sfumato.recipe.recipe import Recipe
from sfumato.training import start
from sfumato.training.accelerator import precision_of

SHARE = 0.95
NEVER = 1e9  # seconds


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "")
    p.add_argument("--preset", default="tiny", help="network")
    p.add_argument("--steps", type=int, default=400, help="steps a training")
    p.add_argument("--batch", type=int, default=64, help="pictures a step")
    p.add_argument("--repeats", type=int, default=3, help="how often; the median counts")
    return p.parse_args()


def main() -> None:
    args = parse()
    shelf("cifar10")
    set_threads(args.threads)
    images = args.steps * args.batch
    changes = [f"net.preset={args.preset}", f"train.batch={args.batch}", f"train.images={images}",
               f"train.seed={args.seed}", f"train.save_seconds={NEVER}", f"train.preview_seconds={NEVER}"]  # fmt: skip
    recipe = recipes.load("cifar10", changes)
    store = open_store(recipe.data)
    cells = Cells("loop-cost", args)
    settings = {"preset": args.preset, "steps": args.steps, "batch": args.batch, "side": 32, "threads": args.threads,
                "precision": precision_of(recipe.train, "cpu"), "seed": args.seed}  # fmt: skip
    found = []
    for k in range(args.repeats):
        name = f"{args.preset}-{k + 1}"
        folder = cells.work / name

        def figures(folder: Path = folder, name: str = name) -> Figures:
            cells.fresh(name)
            ours = product(recipe, folder)
            plain = bare(recipe, store, args.steps)
            shares = {f"of_bare_{key}": ours[key] / plain[key] for key in plain}
            return {**ours, **{f"bare_{key}": value for key, value in plain.items()}, **shares}

        found.append(cells.measure(name, settings, figures)["figures"])
    report(found, args)


def product(recipe: Recipe, folder: Path) -> Figures:
    """The product's loop: the share inside by its own log, and the same against the clock on the wall.

    The wall runs from the first step's start to the last report before any preview, logging included.
    """
    job = start.prepare(recipe, out=folder)
    seen: list[tuple[float, float, Event]] = []
    start.run(job, lambda event: seen.append((time.perf_counter(), time.process_time(), event)))
    kinds = [event.kind for *_, event in seen]
    until = min((kinds.index(kind) for kind in ("preview", "held_out", "end") if kind in kinds), default=len(kinds))
    began, cpu_began, _ = seen[kinds.index("start")]
    reports = [(moment, cpu, event) for moment, cpu, event in seen[:until] if isinstance(event, Report)]
    moment, cpu, last = reports[-1]
    return {
        "inside": last.inside,
        "inside_of_wall": last.inside * last.seconds / (moment - began),
        "images_per_second": last.images / last.seconds,
        "images_per_cpu_second": last.images / (cpu - cpu_began),
        "steps": last.images // recipe.train.batch,
        "seconds": last.seconds,
    }


def bare(recipe: Recipe, store: Store, steps: int) -> Figures:
    """Images/s of forward, backward and optimiser with next to nothing around them."""
    s = recipe.train
    torch.manual_seed(s.seed)
    net = net_of(recipe.net, store.shape, Vocabulary.build("none"))
    optimizer = torch.optim.AdamW(net.parameters(), s.lr, betas=s.betas, fused=True)
    denoiser = Preconditioned(conditioned(net), recipe.noise.prediction, recipe.noise.sigma_data)
    schedule = schedule_of(recipe.noise)
    data: Tensor = store.train.pixels.clone().contiguous(memory_format=torch.channels_last)
    low = precision_of(s, "cpu") == "bf16"
    began, cpu_began = time.perf_counter(), time.process_time()
    for _ in range(steps):
        x0 = data[torch.randint(len(data), (s.batch,))].float().div_(127.5).sub_(1)
        level = schedule.draw(torch.rand(s.batch, dtype=torch.float64))
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = denoising_loss(denoiser, recipe.noise.weighting, x0, torch.randn_like(x0), level).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    images = steps * s.batch
    return {
        "images_per_second": images / (time.perf_counter() - began),
        "images_per_cpu_second": images / (time.process_time() - cpu_began),
    }


def report(found: list[Figures], args: argparse.Namespace) -> None:
    keys = ("inside", "inside_of_wall", "images_per_second", "bare_images_per_second",
            "of_bare_images_per_second", "of_bare_images_per_cpu_second")  # fmt: skip
    rows: list[list[object]] = [[str(k + 1), *(f[key] for key in keys)] for k, f in enumerate(found)]
    median = {key: statistics.median(f[key] for f in found) for key in keys}
    rows.append(["median", *median.values()])
    head = ("repeat", "inside", "of wall", "images/s", "bare images/s", "of bare", "by CPU time")
    table(f"{args.preset}, 32 px, batch {args.batch}, {args.steps} steps", head, rows)
    share = median["inside"]
    passed(f"{share:.1%} inside forward, backward and optimiser, at least {SHARE:.0%}", share >= SHARE)


if __name__ == "__main__":
    run(main)
