"""On a GPU: images/s of `cifar10-large`, from an eager fp32 loop to our loop in steps, and its FD after given minutes.

Speed: `ordinary` is an eager fp32 loop whose data is selected and normalised in main memory; the next rows are our loop
with the data on the GPU, in fp32, in bf16, and in bf16 with torch.compile (`ours`). Claim: `ours` is at least 4 x
`ordinary`. Quality: one training by our loop, whose length is set from its own speed; it is stopped at each of the
given minutes, judged, and resumed. It also runs on a CPU, as a test: --set net.preset=tiny --batch 16.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

import sfumato
from common import (
    Cells,
    Figures,
    arguments,
    judged,
    note_steps,
    passed,
    run,
    same,
    save_grid,
    set_threads,
    shelf,
    span,
    table,
)
from peers import RESNET20, features_named
from sfumato.device import best_device
from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Preconditioned, conditioned
from sfumato.diffusion.loss import denoising_loss
from sfumato.files import write_json
from sfumato.judging.model import representative_texts
from sfumato.models.named import net_of, schedule_of
from sfumato.models.sampling import Sampling
from sfumato.pictures.store import open_store
from sfumato.progress import Event, Report, Stop
from sfumato.recipe import recipe as recipes
from sfumato.recipe.recipe import Recipe
from sfumato.training import start
from sfumato.training.tasks.generate import vocabulary_of

BEGAN = time.monotonic()
FACTOR = 4.0
SAVE = 120  # seconds between the curve's checkpoints
NEVER = 1e9  # seconds
LADDER = {
    "ordinary": None,
    "loop-fp32": ["train.precision=fp32", "train.compile=false"],
    "loop-low": ["train.precision=auto", "train.compile=false"],
    "ours": ["train.precision=auto"],
}


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "", n=5000)
    p.add_argument("--recipe", default="cifar10-large", help="recipe of all cells")
    p.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the recipe")
    p.add_argument("--batch", type=int, help="batch [the recipe's]")
    p.add_argument("--only", nargs="+", choices=LADDER, default=list(LADDER), help="which speeds")
    p.add_argument("--warmup", type=int, default=20, help="steps before the clock starts, compilation among them")
    p.add_argument("--steps", type=int, default=50, help="steps timed")
    p.add_argument("--minutes", type=float, nargs="*", default=[10, 20, 30], help="when to judge; none: speeds only")
    p.add_argument("--call-minutes", type=float, help="stop training, saved, this long after the call began; the same "
                   "command goes on")  # fmt: skip
    p.add_argument("--features", nargs="+", default=["resnet20", "mini"], help="features of the FD")
    p.add_argument("--sampler", default="dpm++2m", help="sampler of the judged pictures")
    p.add_argument("--sampler-steps", type=int, default=20, help="its steps")
    p.add_argument("--inside", choices=LADDER, help=argparse.SUPPRESS)
    return p.parse_args()


def main() -> None:
    args = parse()
    shelf("cifar10", *([RESNET20] if "resnet20" in args.features and args.minutes else []))
    set_threads(args.threads)
    batch = [f"train.batch={args.batch}"] if args.batch else []
    quiet = [f"train.save_seconds={NEVER}", f"train.preview_seconds={NEVER}", f"train.seed={args.seed}"]
    recipe = recipes.load(args.recipe, [*args.set, *batch, *quiet])
    cells = Cells("gpu", args)
    shared = {"recipe": args.recipe, "changes": args.set, "batch": recipe.train.batch, "device": device_name()}
    timed = {**shared, "steps": args.steps, "warmup": args.warmup}
    if args.inside:
        settings = {**timed, "loop": LADDER[args.inside]}
        cells.measure(f"speed-{args.inside}", settings, lambda: speed(args.inside, recipe, cells, args))
        return
    for name in args.only:
        if cells.known(f"speed-{name}", {**timed, "loop": LADDER[name]}) is None:
            cells.alone(__file__, name)
    quality = curve(recipe, cells, shared, args) if args.minutes else {}
    report({name: cells.read(f"speed-{name}") for name in args.only}, quality, args)


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else best_device()


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def speed(name: str, recipe: Recipe, cells: Cells, args: argparse.Namespace) -> Figures:
    """Images/s over `--steps` steps after `--warmup`, and the GPU's peak memory."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    changes = LADDER[name]
    seconds = ordinary(recipe, args) if changes is None else product(recipe, changes, cells, args)
    peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    return {
        "images_per_second": args.steps * recipe.train.batch / seconds,
        "step_seconds": seconds / args.steps,
        "peak_gpu_mb": peak,
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32},
    }


def product(recipe: Recipe, changes: list[str], cells: Cells, args: argparse.Namespace) -> float:
    """Seconds of the timed steps in the product's own loop."""
    images = (args.warmup + args.steps + 1) * recipe.train.batch
    folder = cells.fresh("speed")
    job = start.prepare(recipe, [*changes, f"train.images={images}"], folder)
    moments = note_steps(job.task, (args.warmup, args.warmup + args.steps))
    start.run(job)
    shutil.rmtree(folder)
    return moments[args.warmup + args.steps] - moments[args.warmup]


def ordinary(recipe: Recipe, args: argparse.Namespace) -> float:
    """Seconds of the timed steps in a plain loop: fp32, eager, pictures cut and normalised in main memory, one EMA."""
    s, device = recipe.train, best_device()
    store = open_store(recipe.data)
    vocabulary = vocabulary_of(recipe, store)
    net = net_of(recipe.net, store.shape, vocabulary).to(device)
    average = {key: value.clone() for key, value in net.state_dict().items()}
    optimizer = torch.optim.AdamW(net.parameters(), s.lr, betas=s.betas)
    denoiser = Preconditioned(conditioned(net), recipe.noise.prediction, recipe.noise.sigma_data)
    schedule = schedule_of(recipe.noise)
    pixels, tokens = store.train.pixels, vocabulary.encode(store.train.texts(vocabulary.kind))
    began = 0.0
    for step in range(args.warmup + args.steps):
        if step == args.warmup:
            wait()
            began = time.perf_counter()
        which = torch.randint(len(pixels), (s.batch,))
        x0 = (pixels[which].float() / 127.5 - 1).to(device)
        cond = Condition.of(tokens=tokens[which].to(device)) if vocabulary.kind != "none" else None
        level = schedule.draw(torch.rand(s.batch, dtype=torch.float64, device=device))
        loss = denoising_loss(denoiser, recipe.noise.weighting, x0, torch.randn_like(x0), level, cond).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), s.clip)
        optimizer.step()
        with torch.no_grad():
            for key, value in net.state_dict().items():
                average[key].lerp_(value, 1e-3)
    wait()
    return time.perf_counter() - began


def curve(recipe: Recipe, cells: Cells, shared: Figures, args: argparse.Namespace) -> dict[float, Figures]:
    """The FD at each of the minutes, of one training whose learning rate ends at the last of them."""
    folder, marks = cells.work / "run", sorted(args.minutes)
    images = planned(recipe, cells, {**shared, "minutes": marks}, args)
    found: dict[float, Figures] = {}
    for minutes in marks:
        name = f"fd-{minutes:g}-minutes"
        settings = {**shared, "minutes": marks, "images": images, "n": args.n, "seed": args.seed,
                    "sampler": args.sampler, "steps": args.sampler_steps, "features": args.features}  # fmt: skip

        def figures(minutes: float = minutes, name: str = name) -> Figures:
            last = minutes == marks[-1]
            end = None if args.call_minutes is None else BEGAN + 60 * args.call_minutes
            spent = train_until(recipe, images, folder, None if last else 60 * minutes, end)
            model = sfumato.load(folder)
            store = open_store(recipe.data)
            texts = representative_texts(model, store.train, args.n, args.seed)
            wait()
            began = time.perf_counter()
            samples = model.sample(
                args.n, texts=texts, seed=args.seed, sampling=Sampling(sampler=args.sampler, steps=args.sampler_steps)
            )
            seconds = time.perf_counter() - began
            save_grid(samples[:64], cells.work / f"{name}.png", columns=8)
            extractors = [features_named(each, model.device) for each in args.features]
            return {
                **spent,
                "ms_per_picture": 1000 * seconds / args.n,
                "judged": {each.name: judged(samples, store, each, 0) for each in extractors},
            }

        found[minutes] = cells.measure(name, settings, figures)["figures"]
    return found


def planned(recipe: Recipe, cells: Cells, settings: Figures, args: argparse.Namespace) -> int:
    """Images that fit the last of the minutes, measured once for a run."""
    notes = cells.work / "plan.json"
    if args.again:
        shutil.rmtree(cells.work / "run", ignore_errors=True)
        notes.unlink(missing_ok=True)
    if notes.is_file():
        known = json.loads(notes.read_text("utf-8"))
        same(known["settings"], settings, str(notes), "--again trains anew, --work keeps both")
        return int(known["images"])
    rate = speed("ours", recipe, cells, args)["images_per_second"]
    images = max(1, int(rate * 60 * settings["minutes"][-1] / recipe.train.batch)) * recipe.train.batch
    write_json(notes, {"settings": settings, "images": images, "images_per_second": rate})
    return images


def train_until(recipe: Recipe, images: int, folder: Path, seconds: float | None, end: float | None) -> Figures:
    """Train, and stop once the run's steps have taken `seconds` in all (None: at its end). Saves and resumes.

    end: the moment by which this call stops; if it comes first, the script says so and exits.
    """
    job = start.prepare(recipe, [f"train.images={images}", f"train.save_seconds={SAVE}"], folder)
    before = spent(job.folder.events())

    stop = Stop()

    def listen(event: Event) -> None:
        if isinstance(event, Report):
            enough = seconds is not None and before + event.seconds >= seconds
            if enough or (end is not None and time.monotonic() >= end):
                stop.request("time")

    if seconds is None or before < seconds:
        start.run(job, listen, stop)
    events = job.folder.events()
    images_seen = max(event["images"] for event in events if event["event"] == "save")
    if images_seen < images and (seconds is None or spent(events) < seconds):
        print(f"stopped at {images_seen:,} of {images:,} images, saved: the same command goes on")
        sys.exit(0)
    return {
        "images": images_seen,
        "seconds": spent(events),
        "parameters": sum(p.numel() for p in job.task.net.parameters()),
    }


def spent(events: list[dict[str, Any]]) -> float:
    """Seconds in steps over all starts of a run, compilation included."""
    total, segment = 0.0, 0.0
    for event in events:
        if event["event"] == "start":
            total, segment = total + segment, 0.0
        elif event["event"] == "report":
            segment = event["seconds"]
    return total + segment


def report(speeds: dict[str, Figures], quality: dict[float, Figures], args: argparse.Namespace) -> None:
    if speeds:
        base = speeds.get("ordinary")
        rows = [
            [name, f["images_per_second"], f["images_per_second"] / base["images_per_second"] if base else None,
             f["peak_gpu_mb"]]
            for name, f in speeds.items()
        ]  # fmt: skip
        table(f"{args.recipe} on {device_name()}", ("loop", "images/s", "x ordinary", "GPU MB"), rows)
        if base and "ours" in speeds:
            factor = speeds["ours"]["images_per_second"] / base["images_per_second"]
            passed(f"ours / ordinary: {factor:.2f}, at least {FACTOR:g}", factor >= FACTOR)
    if quality:
        rows = [
            [
                f"{minutes:g}",
                f"{f['images']:,}",
                f["ms_per_picture"],
                *(span(f["judged"][k]["fd"]) for k in args.features),
            ]
            for minutes, f in quality.items()
        ]
        head = ("minutes", "images", "ms/picture", *(f"FD ({name})" for name in args.features))
        table(f"{args.recipe}: {args.n} samples, {args.sampler}, {args.sampler_steps} steps", head, rows)


if __name__ == "__main__":
    run(main)
