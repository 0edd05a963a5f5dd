"""The emoji world, checked exactly: does a text-to-image model draw what it is told?

Prompts of three kinds, by guidance: single things as taught, thing x background held out of training, pairs held out.
The measure itself is checked on true drawings sent through the model's autoencoder. Claims, at the model's own
guidance: see CLAIMS; the measure is right on at least 98 %; the autoencoder gives at least 29 dB on held-out
compositions and on the things kept out of training.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

import sfumato
from common import Cells, Figures, arguments, passed, run, save_grid, set_threads, table
from sfumato.errors import UserError
from sfumato.judge.emoji import PARTS, Kind, control, judge_emoji
from sfumato.pictures.emoji.scene import BACKGROUNDS, Scene, asked
from sfumato.pictures.emoji.things import subjects
from sfumato.text.model import TextModel

CLAIMS = {
    ("single", "things"): 0.90,
    ("single", "background"): 0.98,
    ("held out", "background"): 0.95,
    ("pairs", "background"): 0.95,
    ("pairs", "things"): 0.60,
}
MEASURE, DECIBELS = 0.98, 29.0


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "", n=300)
    p.add_argument("--model", default="mini", help="a shipped model or a run of the recipe mini")
    p.add_argument("--guidance", type=float, nargs="+", default=[0, 1, 2, 3, 4, 5, 7, 10], help="guidance values")
    p.add_argument("--steps", type=int, default=20, help="steps of DPM-Solver++(2M)")
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    model = sfumato.load(args.model)
    if not isinstance(model, TextModel):
        raise UserError(f"{args.model} is not a text-to-image model")
    cells = Cells("text-exact", args)
    told = {"model": model.name, "n": args.n, "seed": args.seed}
    measure = cells.measure(f"{model.name}-control", told, lambda: itself(model, args.n))["figures"]
    ground = cells.measure(f"{model.name}-autoencoder", told, lambda: fidelity(model, args.n))["figures"]
    found: dict[float, Figures] = {}
    for guidance in dict.fromkeys([model.recipe.sample.guidance, *args.guidance]):
        settings = {**told, "guidance": guidance, "steps": args.steps, "precision": model.precision}

        def figures(guidance: float = guidance) -> Figures:
            return judged(model, guidance, args, cells)

        found[guidance] = cells.measure(f"{model.name}-{guidance:g}", settings, figures)["figures"]
    report(model, measure, ground, found, args)


def shares(kinds: dict[str, Kind]) -> Figures:
    return {name: {part: asdict(kind.shares[part]) for part in PARTS} for name, kind in kinds.items()}


def itself(model: TextModel, n: int) -> Figures:
    """The measure on true drawings that went through the autoencoder."""
    return shares(control(model.autoencoder.float(), n))


def fidelity(model: TextModel, n: int) -> Figures:
    """PSNR of the autoencoder, mean over pictures: compositions held out of training, and the things kept out of it."""
    names = list(subjects())
    sets = {
        "held-out compositions": [asked("held out" if k % 2 else "pairs", k) for k in range(n)],
        "held-out things": [
            Scene((names[k % len(names)],), list(BACKGROUNDS)[k // len(names) % len(BACKGROUNDS)], size)
            for k in range(n) for size in [("", "small", "large")[k % 3]]
        ],
    }  # fmt: skip
    return {name: psnr(model, pictures(scenes)) for name, scenes in sets.items()}


def pictures(scenes: list[Scene]) -> Tensor:
    return torch.stack([torch.from_numpy(s.draw().transpose(2, 0, 1).copy()) for s in scenes])


def psnr(model: TextModel, true: Tensor) -> float:
    back = torch.cat([model.leave(model.enter(part)) for part in true.split(50)])
    error = (back.double() - true.double()).div(255).square().flatten(1).mean(1)
    return float(np.mean((-10 * error.log10()).numpy()))


def judged(model: TextModel, guidance: float, args: argparse.Namespace, cells: Cells) -> Figures:
    began = time.perf_counter()
    verdict = judge_emoji(model, n=args.n, seed=args.seed, guidance=guidance, steps=args.steps, sampler="dpm++2m")
    for name, kind in verdict.kinds.items():
        grid = cells.work / f"{model.name}-{name.replace(' ', '-')}-{guidance:g}.png"
        save_grid(kind.samples[:48], grid, captions=[s.caption() for s in kind.scenes[:48]], columns=8)
    return {
        **shares(verdict.kinds),
        "ms_per_picture": verdict.ms_per_picture,
        "seconds": time.perf_counter() - began,
    }


def report(
    model: TextModel, measure: Figures, ground: Figures, found: dict[float, Figures], args: argparse.Namespace
) -> None:
    head = ("guidance", *(f"{name}: {part}" for name in measure for part in PARTS[:2]))
    rows = [
        [label, *(span(f[name][part]) for name in measure for part in PARTS[:2])]
        for label, f in [("true drawings", measure), *((f"{g:g}", f) for g, f in sorted(found.items()))]
    ]
    table(f"{model.name}: {args.n} prompts a kind, share right with 95 % intervals", head, rows)
    own = found[model.recipe.sample.guidance]
    least = min(measure[name][part]["value"] for name in measure for part in PARTS[:2])
    passed(f"the measure on true drawings: {least:.1%}, at least {MEASURE:.0%}", least >= MEASURE)
    for (name, part), bar in CLAIMS.items():
        value = own[name][part]["value"]
        passed(f"{name}, {part}: {value:.1%}, at least {bar:.0%}", value >= bar)
    for name, value in ground.items():
        passed(f"autoencoder, {name}: {value:.2f} dB, at least {DECIBELS:g}", value >= DECIBELS)


def span(share: Figures) -> str:
    return f"{share['value']:.1%} [{share['low']:.0%}, {share['high']:.0%}]"


if __name__ == "__main__":
    run(main)
