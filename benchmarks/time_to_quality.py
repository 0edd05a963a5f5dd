"""Time to quality: what our `cifar10` recipe and diffusers' UNet2DModel reach on CIFAR-10 in the same time.

Every cell trains in its own process. The number of images is set from its own speed at the start: the budget divided by
the lower quartile of the times of 20 steps, after 3 others. A few pictures decide each peer's EMA and sampler, and the
best peer. This peer and ours draw all the samples, at 20 evaluations of DPM-Solver++(2M); FD to the 50,000 training
pictures on ResNet-20 features. Claim: ours is at most 0.6 x the best peer's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import sfumato
from common import (
    Cells,
    Figures,
    arguments,
    judged,
    note_steps,
    passed,
    peak_mb,
    run,
    same,
    save_grid,
    set_threads,
    shelf,
    span,
    table,
)
from peers import RESNET20, PeerTraining, resnet20_features, unet2d, ways
from sfumato.errors import UserError
from sfumato.files import write_json
from sfumato.models.sampling import Sampling
from sfumato.pictures.feed import Feed
from sfumato.pictures.store import open_store
from sfumato.pictures.stored import Store
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.progress import Event, Report
from sfumato.recipe import recipe as recipes
from sfumato.runs.checkpoint import label
from sfumato.training import start

RATIO = 0.6
SKIP, TIMED = 3, 20
SIZES, RATES = ("3m", "6m"), ("2e-4", "1e-3")
PEERS = [f"peer-{size}-{rate}" for size in SIZES for rate in RATES]
TRAINING = ("minutes", "batch", "ema", "threads", "seed", "lr", "size", "precision", "decay", "changes")
NEVER = 1e9  # seconds


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "", n=5000)
    p.add_argument("--minutes", type=float, default=30, help="budget of a cell's training")
    p.add_argument("--cells", nargs="+", default=["ours", *PEERS], help="which cells, in this order")
    p.add_argument("--bf16-peers", action="store_true", help="add the peers' cells in bf16")
    p.add_argument("--ema", type=float, nargs="+", help="relative widths of the EMAs; ours samples the first, the "
                   "peers the best [the recipe's]")  # fmt: skip
    p.add_argument("--steps", type=int, default=20, help="evaluations a picture")
    p.add_argument("--pilot", type=int, default=200, help="pictures by which a peer's EMA and sampler are chosen")
    p.add_argument("--batch", type=int, default=32, help="batch of every cell")
    p.add_argument("--peer-decay", choices=("cosine", "none"), default="cosine", help="the peers' learning rate")
    p.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to our recipe")
    p.add_argument("--inside", help=argparse.SUPPRESS)
    return p.parse_args()


def settings_of(cell: str, args: argparse.Namespace) -> Figures:
    """What decides a cell's figures."""
    ours = recipes.load("cifar10", args.set)
    kept: Figures = {
        "minutes": args.minutes,
        "batch": args.batch,
        "ema": args.ema or list(ours.train.ema),
        "steps": args.steps,
        "threads": args.threads,
        "n": args.n,
        "seed": args.seed,
    }
    if cell == "ours":
        return {**kept, "recipe": "cifar10", "changes": args.set}
    _, size, rate, *rest = cell.split("-")
    return {
        **kept,
        "size": size,
        "lr": float("-".join([rate, *rest]).removesuffix("-bf16")),
        "precision": "bf16" if cell.endswith("-bf16") else "fp32",
        "decay": args.peer_decay,
        "pilot": args.pilot,
    }


def main() -> None:
    args = parse()
    folder = shelf("cifar10", RESNET20)
    cells = Cells("time-to-quality", args)
    every = [*args.cells, *(f"{peer}-bf16" for peer in PEERS if args.bf16_peers and f"{peer}-bf16" not in args.cells)]
    for name in every:
        if name.removesuffix("-bf16") not in ("ours", *PEERS) or name == "ours-bf16":
            raise UserError(f"no cell {name}: ours, {', '.join(PEERS)}, each peer also with -bf16")
    if args.inside:
        set_threads(args.threads)
        name, _, drawing = args.inside.partition("+")
        settings = settings_of(name, args)
        cell = Cell(name, settings, args, cells.work / name)
        cells.measure(args.inside, settings, lambda: cell.drawn(cells.read(name)) if drawing else cell.figures(folder))
        return
    for name in every:
        if cells.known(name, settings_of(name, args)) is None:
            cells.alone(__file__, name)
    report(cells, every, args)


def best_of(cells: Cells, peers: list[str]) -> str:
    """The peer whose best way of sampling has the lowest FD on the pilot's pictures."""
    return min(peers, key=lambda name: min(pilot["fd"] for pilot in cells.read(name)["pilots"]))


class Cell:
    """One training, its samples and their distance. `work` keeps what a second try can go on from."""

    def __init__(self, name: str, settings: Figures, args: argparse.Namespace, work: Path) -> None:
        self.name, self.settings, self.args, self.work = name, settings, args, work
        self.ours = name == "ours"
        changes = [*args.set, f"train.batch={args.batch}", f"train.ema={settings['ema']}", f"train.seed={args.seed}"]
        self.recipe = recipes.load("cifar10", changes)

    def figures(self, data: Path) -> Figures:
        if self.args.again:
            shutil.rmtree(self.work, ignore_errors=True)
        store = open_store(self.recipe.data)
        trained = self.trained(store)
        return {**trained, **(self.draw_ours(store) if self.ours else self.pilot(store, data))}

    def trained(self, store: Store) -> Figures:
        """Train, unless it was done before."""
        wanted = {key: self.settings[key] for key in TRAINING if key in self.settings}
        notes = self.work / "training.json"
        known = json.loads(notes.read_text("utf-8")) if notes.is_file() else {}
        if known:
            same(known["settings"], wanted, str(notes), "--again trains anew, --work keeps both")
        if "figures" in known:
            return known["figures"]
        if "speed" not in known:
            known = {"settings": wanted, "speed": self.speed(store)}
            write_json(notes, known)
        speed = known["speed"]
        images = max(1, int(60 * self.args.minutes / speed["step_seconds"])) * self.args.batch
        print(f"{self.name}: {speed['images_per_second']:.1f} images/s alone, {images:,} images", flush=True)
        began = time.perf_counter()
        figures, _ = self.train(images, store, self.work)
        wall = {"wall_seconds": round(time.perf_counter() - began, 1), "peak_mb": peak_mb()}
        figures = {**figures, "images": images, **speed, **wall}
        write_json(notes, {**known, "figures": figures})
        return figures

    def speed(self, store: Store) -> Figures:
        """The lower quartile of a few steps of the training itself, on a network that is then thrown away."""
        folder = self.work / "speed"
        shutil.rmtree(folder, ignore_errors=True)
        _, moments = self.train(self.args.batch * (SKIP + TIMED + 1), store, folder)
        shutil.rmtree(folder)
        seconds = float(np.quantile(np.diff(moments)[SKIP:], 0.25))
        return {"step_seconds": seconds, "images_per_second": self.args.batch / seconds}

    def train(self, images: int, store: Store, folder: Path) -> tuple[Figures, list[float]]:
        """Train, and leave the weights in a folder; also the moments at which the steps began."""
        return self.train_ours(images, folder) if self.ours else self.train_peer(images, store, folder)

    def train_ours(self, images: int, folder: Path) -> tuple[Figures, list[float]]:
        """The product's own training. Goes on where an earlier try stopped."""
        changes = [f"train.images={images}", f"train.preview_seconds={NEVER}", "train.save_seconds=600"]
        job = start.prepare(self.recipe, changes, folder / "run")
        moments = note_steps(job.task)
        spoken = 0.0

        def listen(event: Event) -> None:
            nonlocal spoken
            if isinstance(event, Report) and event.seconds - spoken > 30:
                spoken = event.seconds
                print(f"{event.images:>10,} of {images:,} images  loss {event.loss:.4f}", flush=True)

        start.run(job, listen)
        figures = {
            "parameters": parameters(job.task.net),
            "loss": job.folder.events("report")[-1]["loss"],
            "precision": job.accelerator.mixed_precision.replace("no", "fp32"),
            "resumed": any(event["images"] for event in job.folder.events("start")),
        }
        return figures, moments

    def train_peer(self, images: int, store: Store, folder: Path) -> tuple[Figures, list[float]]:
        """The peer's usual training, on the same pictures and flips in the same order."""
        s = self.settings
        feed = Feed(store.train, Vocabulary.build("none"), self.recipe.data.flip, self.args.seed)
        moments = note_steps(feed)
        torch.manual_seed(self.args.seed)
        training = PeerTraining(
            unet2d(s["size"]), feed, s["lr"], self.args.batch, s["ema"], s["decay"], self.args.seed,
            s["precision"] == "bf16",
        )  # fmt: skip
        training.run(images)
        folder.mkdir(parents=True, exist_ok=True)
        for width, average in training.averages.nets.items():
            save_file({k: t.contiguous() for k, t in average.state_dict().items()}, weights(folder, width))
        return {
            "parameters": parameters(training.net),
            "loss": training.loss,
            "precision": s["precision"],
        }, moments

    def draw_ours(self, store: Store) -> Figures:
        model = sfumato.load(self.work / "run")
        began = time.perf_counter()
        samples = model.sample(
            self.args.n, seed=self.args.seed, sampling=Sampling(sampler="dpm++2m", steps=self.args.steps)
        )
        seconds = time.perf_counter() - began
        drawn = {"ema_width": self.settings["ema"][0], "sampler": "ours"}
        return self.judged(samples, store, seconds) | drawn

    def pilot(self, store: Store, data: Path) -> Figures:
        """The FD of a few pictures by EMA, and with the better one by way of sampling."""
        features = resnet20_features(data / RESNET20)
        drawers = ways(self.args.steps)
        found: list[Figures] = []

        def measure(width: float, way: str) -> None:
            samples = drawers[way](self.average(width), self.args.pilot, self.args.seed)
            fd = judged(samples, store, features, 0)["fd"]["value"]
            found.append({"ema_width": width, "sampler": way, "fd": fd, "n": self.args.pilot})
            print(f"{self.name}: {label(width)}, {way}: FD {fd:.4g}", flush=True)

        first, *others = drawers
        for width in self.settings["ema"]:
            measure(width, first)
        width = min(found, key=lambda pilot: pilot["fd"])["ema_width"]
        for way in others:
            measure(width, way)
        return {"pilots": found}

    def drawn(self, known: Figures) -> Figures:
        """All the pictures, in the way that the pilot found best."""
        best = min(known["pilots"], key=lambda pilot: pilot["fd"])
        began = time.perf_counter()
        samples = ways(self.args.steps)[best["sampler"]](self.average(best["ema_width"]), self.args.n, self.args.seed)
        judged = self.judged(samples, open_store(self.recipe.data), time.perf_counter() - began)
        return {**known, **judged, "ema_width": best["ema_width"], "sampler": best["sampler"]}

    def average(self, width: float) -> torch.nn.Module:
        net = unet2d(self.settings["size"])
        net.load_state_dict(load_file(weights(self.work, width)))
        return net.eval().requires_grad_(False)

    def judged(self, samples: Tensor, store: Store, seconds: float) -> Figures:
        save_grid(samples[:64], self.work / "grid.png", columns=8)
        features = resnet20_features(shelf(RESNET20) / RESNET20)
        return {"ms_per_picture": 1000 * seconds / len(samples), "judged": judged(samples, store, features, 0)}


def weights(folder: Path, width: float) -> Path:
    return folder / f"{label(width)}.safetensors"


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def report(cells: Cells, names: list[str], args: argparse.Namespace) -> None:
    """All cells in a table, the peers by their pilots; the best of each precision draws, and is set against ours."""
    found = {name: cells.read(name) for name in names}
    for kind in ("fp32", "bf16"):
        peers = [name for name, f in found.items() if name != "ours" and f["precision"] == kind]
        if peers:
            drawing = f"{best_of(cells, peers)}+drawn"
            if cells.known(drawing, settings_of(drawing.removesuffix("+drawn"), args)) is None:
                cells.alone(__file__, drawing)
            found[drawing] = cells.read(drawing)
    rows = [
        [name, f"{f['parameters'] / 1e6:.2f} M", f["precision"], f"{f['images_per_second']:.0f}", f"{f['images']:,}",
         f"{f['wall_seconds'] / 60:.1f}", f"{f['peak_mb']:.0f}", *distance(f)]
        for name, f in found.items()
    ]  # fmt: skip
    head = (
        "cell",
        "parameters",
        "precision",
        "images/s",
        "images",
        "minutes",
        "MB",
        "FD (resnet20)",
        "n",
        "EMA, sampler",
    )
    table(f"CIFAR-10, {args.minutes:g} minutes each, {args.steps} evaluations", head, rows)
    if "ours" not in found:
        return
    print(f"floor (test pictures): {found['ours']['judged']['fd']['floor']:.4g}")
    for name, f in found.items():
        if name.endswith("+drawn"):
            ratio = found["ours"]["judged"]["fd"]["value"] / f["judged"]["fd"]["value"]
            peer = name.removesuffix("+drawn")
            passed(f"ours / {peer}, the best {f['precision']} peer: {ratio:.3f}, at most {RATIO}", ratio <= RATIO)


def distance(f: Figures) -> tuple[str, int, str]:
    """A cell's FD, on how many pictures, and how they were drawn."""
    if "judged" in f:
        return span(f["judged"]["fd"]), f["judged"]["n"], f"{f['ema_width']:g}, {f['sampler']}"
    best = min(f["pilots"], key=lambda pilot: pilot["fd"])
    return f"{best['fd']:.4g} (pilot)", best["n"], f"{best['ema_width']:g}, {best['sampler']}"


if __name__ == "__main__":
    run(main)
