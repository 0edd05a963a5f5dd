"""Realistic photos: our photo model against FFDNet on sharp pictures, real noise, JPEG, textures.

Sets (--only): in sharp, drawn and cbsd68 sigma is given; in polyu, jpeg, raw, texture and blind it is not: ours
estimates the level, while FFDNet gets the fixed sigma that is best for each row (on clean textures: 1 of 255). Both
outputs are rounded to 8 bits. A picture is "worse" if its PSNR is below that of the input, clipped and in 8 bits too.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sfumato
from common import Cells, Figures, arguments, passed, run, set_threads, shelf, table
from denoise_peers import FFDNet
from photo_cases import Case, psnr, to_8_bit
from photo_sets import SETS
from sfumato.denoising.arrays import take
from sfumato.denoising.denoise import Cleaning
from sfumato.denoising.levels import estimated
from sfumato.models.model import Model

FIXED = (5, 10, 15, 20)  # of 255, that FFDNet tries where nobody knows the level
TODAY = {"15": 33.72, "25": 31.04, "50": 27.75}  # of `photo` on CBSD68 before
BELOW, POLYU, KEPT, READS, JPEG = 0.15, 38.0, 42.0, 3.0, 0.5
Rows = dict[str, dict[str, Any]]
Method = Callable[[Case], tuple[dict[str, np.ndarray], float | None]]


def parse() -> argparse.Namespace:
    p = arguments(__doc__ or "", n=100)
    p.add_argument("--model", default="photo", help="a shipped model, a run folder or a file of weights")
    p.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS), help="which sets; -n: pictures a row")
    return p.parse_args()


def main() -> None:
    args = parse()
    set_threads(args.threads)
    data = shelf("cbsd68", "polyu", "dreambooth", "peers")
    model = sfumato.load(args.model)
    cells = Cells("photos-real", args)
    methods: dict[str, Method] = {model.name: ours(model), "ffdnet": ffdnet()}
    for part in args.only:
        found: dict[str, Rows] = {}
        for name, method in methods.items():
            settings = {"set": part, "method": name, "n": args.n, "seed": args.seed}
            settings |= {"weights": digest(model)} if name == model.name else {}

            def figures(part: str = part, method: Method = method) -> Figures:
                return measure(method, part, data, args)

            found[name] = cells.measure(f"{part}-{Path(name).stem}", settings, figures)["figures"]
        mine, theirs = found.values()
        show(part, mine, theirs)
        BARS[part](mine, theirs)


def digest(model: Model) -> str:
    """Of the weights, so that figures of other weights never share a table."""
    found = hashlib.sha256()
    for value in model.net.state_dict().values():
        found.update(value.contiguous().reshape(-1).view(torch.uint8).cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def ours(model: Model) -> Method:
    """The public call as a person makes it; floats are noise that was not cut off."""

    def clean(case: Case) -> tuple[dict[str, np.ndarray], float | None]:
        how = Cleaning(clipped=None if case.noisy.dtype == np.uint8 else False)
        done = model.denoise(case.noisy, case.sigma, how)
        return {"": done if done.dtype == np.uint8 else to_8_bit(done)}, None if case.sigma else reading(model, case)

    return clean


def reading(model: Model, case: Case) -> float:
    """The noise as the model reads it, of 255."""
    return float(estimated(model.cleaner(), take(case.noisy).x.to(model.device)).sigma.reshape(-1)[0]) * 255 / 2


def ffdnet() -> Method:
    net = FFDNet()

    def clean(case: Case) -> tuple[dict[str, np.ndarray], float | None]:
        values = case.noisy.astype(np.float32) / (255 if case.noisy.dtype == np.uint8 else 1)
        x = torch.from_numpy(values).permute(2, 0, 1)[None]
        fixed = (1,) if case.noisy is case.clean else FIXED
        levels = {"": case.sigma} if case.sigma else {str(s): s / 255 for s in fixed}
        return {name: to_8_bit(net(x, s)[0].permute(1, 2, 0).numpy()) for name, s in levels.items()}, None

    return clean


def measure(method: Method, part: str, data: Path, args: argparse.Namespace) -> Rows:
    """Of each row: names, what came in, what went out, both in dB, and what was read (of 255)."""
    rows: Rows = {}
    for row, case in SETS[part](data, args.n, args.seed):
        done, read = method(case)
        one = rows.setdefault(row, {"names": [], "noisy": [], "read": [], "by": {name: [] for name in done}})
        came = case.noisy if case.noisy.dtype == np.uint8 else to_8_bit(case.noisy)
        one["names"].append(case.name)
        one["noisy"].append(round(psnr(came, case.clean), 3))
        one["read"].append(None if read is None else round(read, 2))
        for name, picture in done.items():
            one["by"][name].append(round(psnr(picture, case.clean), 3))
    for one in rows.values():
        one["sigma"] = max(one["by"], key=lambda name: float(np.mean(one["by"][name])))
        one["psnr"] = one["by"][one["sigma"]]
    return rows


def worse(row: dict[str, Any]) -> int:
    """Pictures that came out worse than they came."""
    return sum(out < came for out, came in zip(row["psnr"], row["noisy"], strict=True))


def ahead(mine: dict[str, Any], theirs: dict[str, Any]) -> np.ndarray:
    return np.subtract(mine["psnr"], theirs["psnr"])


def show(part: str, mine: Rows, theirs: Rows) -> None:
    """The table of one set: mean, median and worst of a row."""
    head = ("row", "n", "came", "ours", "median", "least", "FFDNet", "median", "least", "ours-FFDNet", "median",
            "worst", "worse", "FFDNet worse", "at sigma", "reads", "most", "worst picture")  # fmt: skip
    rows = []
    for row, a in mine.items():
        b, gap = theirs[row], ahead(a, theirs[row])
        read = [value for value in a["read"] if value is not None]
        values = (np.mean(a["noisy"]), *three(a["psnr"]), *three(b["psnr"]), *three(gap))
        rows.append([row, len(gap), *(f"{value:.2f}" for value in values), worse(a), worse(b), b["sigma"] or "told",
                     *(f"{value:.2f}" for value in ((np.median(read), max(read)) if read else ())),
                     *([] if read else [None, None]), a["names"][int(gap.argmin())][:28]])  # fmt: skip
    table(f"{part}: PSNR (dB); what is read, of 255", head, rows)


def three(values: Any) -> tuple[float, float, float]:
    return float(np.mean(values)), float(np.median(values)), float(np.min(values))


def bar_low(mine: Rows, theirs: Rows) -> None:
    """Nothing that is told its noise comes out worse than it came."""
    noisy = {row: one for row, one in mine.items() if not row.endswith("clean")}
    bad, count = sum(worse(one) for one in noisy.values()), sum(len(one["psnr"]) for one in noisy.values())
    passed(f"no worse than the noisy picture: {count - bad} of {count}", not bad)


def bar_sharp(mine: Rows, theirs: Rows) -> None:
    bar_low(mine, theirs)
    for row, one in mine.items():
        if row.split(", ")[2] in ("15", "25", "50"):
            gap = float(ahead(one, theirs[row]).mean())
            passed(f"{row}: {gap:+.2f} dB to FFDNet, at most {BELOW} below", gap >= -BELOW)


def bar_drawn(mine: Rows, theirs: Rows) -> None:
    bar_low(mine, theirs)
    for row, one in mine.items():
        gap = float(ahead(one, theirs[row]).mean())
        passed(f"{row}: {gap:+.2f} dB to FFDNet, no worse", gap >= 0)


def bar_cbsd68(mine: Rows, theirs: Rows) -> None:
    """Against the figures of all 68 pictures, so nothing is claimed of fewer."""
    for row, one in mine.items():
        if len(one["psnr"]) < 68:
            continue
        mean = float(np.mean(one["psnr"]))
        passed(f"{row}: {mean:.2f} dB, at most {BELOW} below {TODAY[row]}", mean >= TODAY[row] - BELOW)


def bar_polyu(mine: Rows, theirs: Rows) -> None:
    one = mine["PolyU"]
    passed(f"PolyU by itself: {np.mean(one['psnr']):.2f} dB, at least {POLYU}", float(np.mean(one["psnr"])) >= POLYU)
    passed(f"PolyU: {worse(one)} of {len(one['psnr'])} worse than they came, none may be", not worse(one))


def bar_jpeg(mine: Rows, theirs: Rows) -> None:
    for row in ("quality 10", "quality 30"):
        gain = float(np.mean(np.subtract(mine[row]["psnr"], mine[row]["noisy"])))
        passed(f"{row}: {gain:+.2f} dB by itself, at least {JPEG}", gain >= JPEG)


def bar_texture(mine: Rows, theirs: Rows) -> None:
    for row, one in mine.items():
        most, least = max(one["read"]), min(one["psnr"])
        claim = f"{row}: reads {most:.2f} at most, below {READS:g}; keeps {least:.2f} dB at least, {KEPT:g} or more"
        passed(claim, most < READS and least >= KEPT)


def no_bar(mine: Rows, theirs: Rows) -> None:
    """Nothing is claimed."""


BARS: dict[str, Callable[[Rows, Rows], None]] = {
    "sharp": bar_sharp, "drawn": bar_drawn, "cbsd68": bar_cbsd68, "polyu": bar_polyu, "jpeg": bar_jpeg,
    "raw": no_bar, "texture": bar_texture, "blind": no_bar,
}  # fmt: skip


if __name__ == "__main__":
    run(main)
