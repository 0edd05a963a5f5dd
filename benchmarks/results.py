"""The figures and pictures of docs/results.md: judges finished runs; curves, grid, film and nearest pairs.

`python benchmarks/results.py runs/cifar10 runs/photos` writes docs/results/NAME-*.png and a JSON file for each run.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from PIL import Image

import sfumato
from common import Cells, Figures, arguments, run, set_threads, span, table
from sfumato.errors import UserError
from sfumato.judging.model import representative_texts
from sfumato.judging.report import copies_section
from sfumato.models.reading import find
from sfumato.models.sampling import Sampling
from sfumato.recipe.recipe import load
from sfumato.runs.folder import RunFolder
from sfumato.show import film as films
from sfumato.show.grid import grid
from sfumato.show.plot import curves

PAGES = Path(__file__).parent.parent / "docs" / "results"
SHOWN, FILMED = 48, 6
HEAVY = 600_000  # bytes of a picture in the repository


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "", n=5000)
    p.add_argument("runs", type=Path, nargs="+", help="run folders")
    p.add_argument("--steps", type=int, help="steps of the recipe's sampler, where its own number takes too long")
    p.add_argument("--pages", type=Path, default=PAGES, help="folder of the pictures")
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    cells = Cells("results", args)
    rows = []
    for path in args.runs:
        if not (path / "recipe.yaml").is_file():
            raise UserError(f"{path} is not a run folder")
        checkpoint, _ = find(path)
        sample = load(path / "recipe.yaml").sample
        way = {"sampler": sample.sampler, "steps": args.steps or sample.steps}
        settings = {
            "run": path.name,
            "images": int(checkpoint.name),
            **way,
            "n": args.n,
            "seed": args.seed,
        }

        def figures(path: Path = path, way: dict[str, Any] = way) -> Figures:
            return measure(path, way, args)

        f = cells.measure(path.name, settings, figures)["figures"]
        v = f["verdict"]
        rows.append([
            path.name, f"{way['sampler']}, {way['steps']}", f"{f['parameters'] / 1e6:.1f} M", f"{f['images']:,}",
            f"{f['minutes']:.0f}", span(v["fd"]), f"{v['fd']['floor']:.3g}", f"{v['kid']:.3g}",
            f"{v['precision']:.0%}", f"{v['recall']:.0%}", f"{v['memorised']:.1%}", f"{f['ms_per_picture']:.0f}",
        ])  # fmt: skip
    head = ("run", "sampler, steps", "parameters", "images", "minutes", "FD (mini)", "floor", "KID",
            "precision", "recall", "near-copies", "ms/picture")  # fmt: skip
    table(f"{args.n} samples", head, rows)


def measure(path: Path, way: dict[str, Any], args: argparse.Namespace) -> Figures:
    """Judge a run and leave its pictures."""
    found = sfumato.judge(path, n=args.n, seed=args.seed, features="mini", sampling=Sampling(**way))
    folder: Path = args.pages
    folder.mkdir(parents=True, exist_ok=True)
    grid(found.samples[:SHOWN], columns=12).save(folder / f"{path.name}.png", optimize=True)
    pairs = copies_section(found).pictures[0].image
    assert isinstance(pairs, Image.Image)
    pairs.save(folder / f"{path.name}-pairs.png", optimize=True)
    (folder / f"{path.name}-curves.png").write_bytes(curves(RunFolder(path).events()))
    texts = representative_texts(found.model, found.store.train, FILMED, args.seed)
    _, film = found.model.film(FILMED, seed=args.seed, texts=texts, sampling=Sampling(**way))
    films.strip(film.frames, folder / f"{path.name}-film.png", captions=film.captions)
    for name in ("", "-pairs", "-film"):
        light(folder / f"{path.name}{name}.png")
    return {
        **spent(path),
        "parameters": sum(p.numel() for p in found.model.net.parameters()),
        "ms_per_picture": 1000 * found.seconds / args.n,
        "verdict": found.verdict.to_json(),
        "words": found.verdict.words(),
    }


def light(picture: Path) -> None:
    """A PNG that is heavy, as noise is, becomes a JPEG."""
    if picture.stat().st_size > HEAVY:
        Image.open(picture).convert("RGB").save(picture.with_suffix(".jpg"), quality=80)
        picture.unlink()


def spent(path: Path) -> Figures:
    """Images seen and minutes in steps, over all starts; the last held-out loss."""
    minutes, segment, images = 0.0, 0.0, 0
    folder = RunFolder(path)
    for event in folder.events():
        if event["event"] == "start":
            minutes, segment = minutes + segment / 60, 0.0
        elif event["event"] == "report":
            segment, images = event["seconds"], event["images"]
    held = [event["loss"] for event in folder.events("held_out")]
    return {"images": images, "minutes": round(minutes + segment / 60, 1), "held_out": held[-1] if held else None}


if __name__ == "__main__":
    run(main)
