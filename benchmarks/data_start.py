"""Time to load CIFAR-10 at the start of a training: the first time, with decoding, and later, from the cache.

Each start runs in its own process. Measured are opening the store, making the feed and drawing the first batch, without
the imports. The cache is a separate folder, removed at the end. Claim: a second start is under 2 s.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import Cells, Figures, arguments, passed, run, shelf, table
from sfumato.errors import UserError

SECONDS = 2.0


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "")
    p.add_argument("--starts", type=int, default=5, help="starts after the first")
    p.add_argument("--warm", action="store_true", help="leave the first start out: use the cache as it is")
    p.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return p.parse_args()


def main() -> None:
    args = parse()
    shelf("cifar10")
    if args.inside:
        print(json.dumps(one_start(args.seed)))
        return
    cells = Cells("data-start", args)
    settings = {"starts": args.starts, "first": not args.warm, "threads": args.threads}
    cell = cells.measure("cifar10", settings, lambda: starts(cells, args))
    found = cell["figures"]
    rows = [[f["start"], f["open"], f["feed"], f["batch"], f["seconds"]] for f in found["each"]]
    table("CIFAR-10: seconds on data", ("start", "open", "feed", "first batch", "all"), rows)
    worst = found["worst"]
    passed(f"the slowest of {args.starts} later starts: {worst:.2f} s on data, under {SECONDS:g}", worst < SECONDS)


def starts(cells: Cells, args: argparse.Namespace) -> Figures:
    env = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    cache: Path | None = None
    if not args.warm:
        cache = cells.fresh("cache")
        env["SFUMATO_CACHE"] = str(cache)
    each: list[Figures] = []
    for k in range(args.starts + (not args.warm)):
        done = subprocess.run(
            [sys.executable, __file__, "--inside", "--seed", str(args.seed)], env=env, stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            raise UserError(f"start {k + 1} failed with status {done.returncode}")
        first = cache is not None and k == 0
        each.append({"start": "first" if first else f"later {len(each) + args.warm}", **json.loads(done.stdout)})
    if cache is not None:
        shutil.rmtree(cache)
    later = [f["seconds"] for f in each if f["start"] != "first"]
    return {"each": each, "median": statistics.median(later), "worst": max(later)}


def one_start(seed: int) -> Figures:
    """Seconds of each part, imports aside."""
    import psutil  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import torch

    from sfumato.pictures import cifar10  # noqa: F401
    from sfumato.pictures.feed import Feed
    from sfumato.pictures.store import open_store
    from sfumato.pictures.vocabulary import Vocabulary
    from sfumato.recipe import recipe as recipes

    recipe = recipes.load("cifar10")
    began = time.perf_counter()
    store = open_store(recipe.data)
    opened = time.perf_counter()
    feed = Feed(store.train, Vocabulary.build("none"), recipe.data.flip, seed)
    fed = time.perf_counter()
    feed.draw(0, recipe.train.batch, torch.Generator().manual_seed(seed))
    ended = time.perf_counter()
    return {"open": opened - began, "feed": fed - opened, "batch": ended - fed, "seconds": ended - began}


if __name__ == "__main__":
    run(main)
