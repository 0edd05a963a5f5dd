"""Shapes, measured exactly: does a model draw the shape, the colour and the background of the prompt?

200 prompts with combinations from the training, and 200 with held-out combinations, by guidance. The pictures are
recognised by `sfumato.pictures.drawn.shapes.read`. Claim, at the recipe's own guidance: at least 95 % wholly right, and
85 % of the held-out combinations; trained in at most 45 minutes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import sfumato
from common import Cells, Figures, arguments, passed, run, save_grid, set_threads, table
from sfumato.errors import UserError
from sfumato.judging import stats
from sfumato.models.model import Model
from sfumato.models.reading import find
from sfumato.models.sampling import Sampling
from sfumato.pictures.drawn import shapes
from sfumato.pictures.drawn.shapes import Combination
from sfumato.runs.folder import RunFolder

PARTS = ("shape", "colour", "background")
CLAIMS = {"drawn": 0.95, "held-out": 0.85}
MINUTES = 45
SHOWN = 16


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "", n=200)
    p.add_argument("--model", default="runs/shapes", help="a run of the recipe `shapes`, or a checkpoint of it")
    p.add_argument("--guidance", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0, 4.0], help="guidance values")
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    model = sfumato.load(args.model)
    if model.source != "shapes" or model.vocabulary.kind != "words":
        raise UserError(f"{args.model} was not trained on shapes with words: name a run of the recipe shapes")
    folder, _ = find(args.model)
    cells = Cells("shapes-exact", args)
    found: dict[tuple[str, float | None], Figures] = {("real", None): control(cells, args)}
    for guidance in args.guidance:
        for split in CLAIMS:
            settings = {
                "model": model.name,
                "checkpoint": folder.name,
                "training": training(folder),
                "precision": model.precision,
                "split": split,
                **model.settings(sampling=Sampling(guidance=guidance)).model_dump(mode="json"),
                "n": args.n,
                "seed": args.seed,
            }
            name = f"{model.name}-{split}-{guidance:g}"

            def figures(split: str = split, guidance: float = guidance, name: str = name) -> Figures:
                return measure(model, split, guidance, args, cells.work / f"{name}.png")

            found[split, guidance] = cells.measure(name, settings, figures)["figures"]
    report(found, model, training(folder))


def prompts(split: str, n: int, seed: int) -> list[Combination]:
    """n combinations, each as often as any other (give or take one), in an order of their own."""
    pool = shapes.HELD_OUT if split == "held-out" else shapes.DRAWN
    order = np.random.default_rng(seed).permutation(len(pool))
    return [pool[order[k % len(pool)]] for k in range(n)]


def control(cells: Cells, args: argparse.Namespace) -> Figures:
    """The check itself, on test pictures of the data set."""

    def figures() -> Figures:
        pictures = np.stack([shapes.draw("test", k).transpose(2, 0, 1) for k in range(args.n)])
        return shares([shapes.read(p) for p in pictures], [shapes.combination_of("test", k) for k in range(args.n)])

    return cells.measure("control", {"n": args.n}, figures)["figures"]


def measure(model: Model, split: str, guidance: float, args: argparse.Namespace, grid: Path) -> Figures:
    wanted = prompts(split, args.n, args.seed)
    began = time.perf_counter()
    samples = model.sample(
        args.n, texts=[shapes.caption(*w) for w in wanted], seed=args.seed, sampling=Sampling(guidance=guidance)
    )
    seconds = time.perf_counter() - began
    seen = [shapes.read(picture) for picture in samples]
    show(samples, seen, wanted, grid)
    wrong = [{"told": list(w), "read": list(s)} for w, s in zip(wanted, seen, strict=True) if w != s]
    return {**shares(seen, wanted), "ms_per_picture": 1000 * seconds / args.n, "wrong": wrong}


def shares(seen: list[Combination], wanted: list[Combination]) -> Figures:
    """Shares right of each part and of all three, with 95 % intervals."""
    right = np.asarray(seen) == np.asarray(wanted)
    columns = {part: right[:, k] for k, part in enumerate(PARTS)} | {"all": right.all(1)}
    return {name: wilson(int(column.sum()), len(seen)) for name, column in columns.items()}


def wilson(right: int, n: int) -> Figures:
    """A share and its score interval (Wilson 1927)."""
    return stats.wilson(right / n, n).to_json()


def show(samples: Tensor, seen: list[Combination], wanted: list[Combination], path: Path) -> None:
    """Up to 16 failures with what was read, and as many successes as fill up to 32 pictures."""
    right = [k for k, (s, w) in enumerate(zip(seen, wanted, strict=True)) if s == w]
    wrong = [k for k, (s, w) in enumerate(zip(seen, wanted, strict=True)) if s != w][:SHOWN]
    chosen = [*wrong, *right[: 2 * SHOWN - len(wrong)]]
    texts = [f"{' '.join(wanted[k])}" + (f" / {' '.join(seen[k])}" if k in wrong else "") for k in chosen]
    save_grid(samples[torch.tensor(chosen)], path, captions=texts, columns=8)


def training(folder: Path) -> Figures | None:
    """Images and minutes of the run a checkpoint lies in, by its log; None outside a run."""
    run = RunFolder(folder.parent.parent)
    minutes, segment = 0.0, 0.0
    for event in run.events():
        if event["event"] == "start":
            minutes, segment = minutes + segment / 60, 0.0
        elif event["event"] == "report" and event["images"] <= int(folder.name or 0):
            segment = event["seconds"]
    return {"images": int(folder.name), "minutes": round(minutes + segment / 60, 1)} if segment else None


def report(found: dict[tuple[str, float | None], Figures], model: Model, trained: Figures | None) -> None:
    rows = [
        [split, f"{guidance:g}" if guidance else "-", *(_share(f[name]) for name in (*PARTS, "all"))]
        for (split, guidance), f in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or 0))
    ]
    table(f"{model.name}: share right, with 95 % intervals", ("prompts", "guidance", *PARTS, "all"), rows)
    own = model.defaults.guidance
    for split, least in CLAIMS.items():
        if (split, own) in found:
            value = found[split, own]["all"]["value"]
            passed(f"{split} at guidance {own:g}: {value:.1%} wholly right, at least {least:.0%}", value >= least)
    if trained is not None:
        minutes = trained["minutes"]
        passed(f"trained in {minutes:g} minutes, at most {MINUTES}", minutes <= MINUTES)


def _share(share: Figures) -> str:
    return f"{share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}]"


if __name__ == "__main__":
    run(main)
