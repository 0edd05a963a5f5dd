"""Personalisation of `mini` on real photos at 64 pixels, which differ much from the drawings that it was trained on.

Six subjects of DreamBooth, five or six photos each. The result cannot be recognised exactly; instead every drawn
picture is compared with all six sets of photos on the shipped `mini` features, a classifier of CIFAR-10 that no tuning
uses, and counts as right if its own set is the nearest. A sixth would be right by chance. The base, prompted with the
plain noun, is measured in the same way. There is no claim; the result is only reported.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import sfumato
from common import Cells, Figures, arguments, run, save_grid, set_threads, shelf, table
from sfumato.judging.features import open_features
from sfumato.runs.folder import RunFolder
from sfumato.tuning.photos.photos import square

NOUNS = {"rc_car": "automobile", "dog": "dog", "cat": "cat", "backpack": "bag", "clock": "clock", "vase": "amphora"}
PROMPTS = ("a {}", "a {} on a blue background", "a large {} on a white background", "a small {} on a green background")
SEEDS, SIDE = 6, 128


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "")
    p.add_argument("--only", nargs="+", choices=list(NOUNS), default=list(NOUNS), help="these subjects alone")
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    cells = Cells("personalise-photos", args)
    folder = shelf("dreambooth") / "dreambooth"
    settings = {"prompts": list(PROMPTS), "seeds": SEEDS}
    rows = []
    for name in args.only:

        def figures(name: str = name) -> Figures:
            return tuned(name, folder, args, cells)

        f = cells.measure(name, settings, figures)["figures"]
        likeness = f["likeness"]["value"]
        rows.append([name, f"{f['base']:.0%}", f"{f['tuned']:.0%}", f"{likeness:.2f}", f"{f['seconds']:.0f}"])
    head = ("subject", "base nearest to its photos", "tuned", "the report's likeness", "seconds")
    table("real photos at 64 px", head, rows)
    found = [cells.read(name) for name in args.only]
    print(*(f"{key}: {statistics.mean(f[key] for f in found):.0%} on average" for key in ("base", "tuned")), sep="\n")


def photos(folder: Path) -> Tensor:
    """All photos of a subject as they are learned, uint8 (N, 3, SIDE, SIDE)."""
    found = []
    for path in sorted(folder.glob("*.jp*g")):
        image = Image.open(path).convert("RGB")
        crop = square(np.asarray(image))
        box = (crop.left, crop.top, crop.left + crop.side, crop.top + crop.side)
        found.append(torch.from_numpy(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box)).copy()))
    return torch.stack(found).permute(0, 3, 1, 2)


def tuned(name: str, folder: Path, args: argparse.Namespace, cells: Cells) -> Figures:
    out = cells.fresh("runs", name)
    began = time.perf_counter()
    done = sfumato.tune(
        folder / name, NOUNS[name], out=out, preset=sfumato.Preset(overrides=[f"train.seed={args.seed}"])
    )
    seconds = time.perf_counter() - began
    thing = RunFolder(out).recipe().tune
    features = open_features("mini")
    sets = {each: unit(features(photos(folder / each))) for each in NOUNS}
    shares, sheets = {}, []
    for way, model, called in (
        ("base", sfumato.load("mini"), NOUNS[name]),
        ("tuned", sfumato.load(out), f"{thing.trigger} {thing.noun}"),
    ):
        texts = [prompt.format(called) for prompt in PROMPTS] * SEEDS
        drawn = model.sample(len(texts), texts=texts, seed=args.seed)
        seen = unit(features(drawn))
        near = np.stack([(seen @ each.T).mean(1) for each in sets.values()], 1)
        shares[way] = float((near.argmax(1) == list(NOUNS).index(name)).mean())
        sheets.append(drawn[:12])
    shown = torch.cat([photos(folder / name)[:6], *sheets])
    save_grid(shown, cells.work / f"{name}.png", [""] * len(shown), 6)
    likeness = done.end.score.likeness.to_json()
    return {**shares, "likeness": likeness, "step": done.end.choice.step, "seconds": seconds}


def unit(features: np.ndarray) -> np.ndarray:
    found: np.ndarray = features / np.linalg.norm(features, axis=1, keepdims=True)
    return found


if __name__ == "__main__":
    run(main)
