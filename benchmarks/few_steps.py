"""Few steps: the FD of one model by sampler and number of steps, with equal seeds.

Claim: DPM-Solver++(2M) with 10 steps has an FD at most 5 % above that of DDPM with 250.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import sfumato
from common import Cells, Figures, arguments, judged, passed, run, save_grid, set_threads, shelf, span, table
from peers import RESNET20, features_named
from sfumato.errors import UserError
from sfumato.judging.features import Features
from sfumato.judging.model import data_of, representative_texts
from sfumato.models.model import Model
from sfumato.models.sampling import Sampling
from sfumato.pictures.store import open_store
from sfumato.pictures.stored import Store

ALL = ("ddpm-250", "dpm++2m-5", "dpm++2m-10", "dpm++2m-15", "dpm++2m-20", "dpm++2m-50", "heun-5", "heun-10", "heun-18")
CLAIM, AGAINST, MARGIN = "dpm++2m-10", "ddpm-250", 1.05


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "", n=5000)
    p.add_argument("--model", default="cifar10", help="a shipped model, a run folder or a checkpoint")
    p.add_argument("--only", nargs="+", default=ALL, metavar="SAMPLER-STEPS", help="which cells")
    p.add_argument("--features", nargs="+", default=["resnet20", "mini"], help="features of the FD")
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    model = sfumato.load(args.model)
    if "resnet20" in args.features:
        shelf(RESNET20)
    if model.source == "cifar10":
        shelf("cifar10")
    features = [features_named(name) for name in args.features]
    store = open_store(data_of(model))
    cells = Cells("few-steps", args)
    found: dict[str, Figures] = {}
    for name in args.only:
        sampler, _, steps = name.rpartition("-")
        if not steps.isdigit():
            raise UserError(f"no cell {name}: it is SAMPLER-STEPS, as in dpm++2m-10")
        settings = {
            "model": model.name,
            "images": model_images(args.model),
            "sampler": sampler,
            "steps": int(steps),
            "n": args.n,
            "seed": args.seed,
            "features": args.features,
            "threads": args.threads,
            "precision": model.precision,
        }

        def figures(sampler: str = sampler, steps: int = int(steps), name: str = name) -> Figures:
            return measure(model, store, features, args, sampler, steps, cells.work / f"{model.name}-{name}.png")

        found[name] = cells.measure(f"{model.name}-{name}", settings, figures)["figures"]
    report(found, args, model.name)


def model_images(name: str) -> int | None:
    """Images a model has seen, None where that is not known."""
    from sfumato.models.reading import find

    folder, _ = find(name)
    return int(folder.name) if folder.name.isdigit() else None


def measure(
    model: Model, store: Store, features: list[Features], args: argparse.Namespace, sampler: str, steps: int, grid: Path
) -> Figures:
    texts = representative_texts(model, store.train, args.n, args.seed)
    began = time.perf_counter()
    samples = model.sample(args.n, texts=texts, seed=args.seed, sampling=Sampling(sampler=sampler, steps=steps))
    seconds = time.perf_counter() - began
    save_grid(samples[:64], grid, columns=8)
    return {
        "evaluations": model.evaluations(model.settings(Sampling(sampler=sampler, steps=steps))),
        "ms_per_picture": 1000 * seconds / args.n,
        "judged": {each.name: judged(samples, store, each, 0) for each in features},
    }


def report(found: dict[str, Figures], args: argparse.Namespace, model: str) -> None:
    rows = [
        [name, f["evaluations"], f"{f['ms_per_picture']:.1f}", *(span(f["judged"][k]["fd"]) for k in args.features)]
        for name, f in found.items()
    ]
    head = ("sampler-steps", "evaluations", "ms/picture", *(f"FD ({name})" for name in args.features))
    table(f"{model}: {args.n} samples, the same seeds", head, rows)
    if CLAIM in found and AGAINST in found:
        for name in args.features:
            a, b = (found[cell]["judged"][name]["fd"]["value"] for cell in (CLAIM, AGAINST))
            passed(f"FD ({name}) {CLAIM} / {AGAINST}: {a / b:.3f}, at most {MARGIN}", a / b <= MARGIN)


if __name__ == "__main__":
    run(main)
