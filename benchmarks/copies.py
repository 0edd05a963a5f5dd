"""Are altered copies of training pictures recognised, and are honest sets of real pictures left in peace?

Sets of CIFAR-10's test pictures, with 5 % held out as in a recipe. A set of copies holds training pictures that were
altered; an honest set holds pictures that are in neither part. Bursts: four near-alike versions of each picture, all of
them in one part.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from common import Cells, Figures, arguments, run, set_threads, shelf

SIZES = (57, 950, 3000)
HELD = 19  # training pictures for each that is held out
MOST = 100  # samples of a set
PLAIN, POOL, BASES, BURST = 5000, 200, 900, 4  # pictures; those that are altered, those with a burst, its length
FOUND, ACCUSED = 0.95, 0.05


def blurred(x: Tensor, sigma: float) -> Tensor:
    reach = torch.arange(-4, 5).float()
    kernel = torch.exp(-reach.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1, 1, 1)
    y = F.conv2d(F.pad(x.float(), (4, 4, 4, 4), "reflect"), kernel, groups=x.shape[1])
    return pixels(F.conv2d(y, kernel.transpose(2, 3), groups=x.shape[1]))


def pixels(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).byte()


def averaged(x: Tensor) -> Tensor:
    return pixels(F.avg_pool2d(F.pad(x.float(), (1, 1, 1, 1), "reflect"), 3, 1))


def compressed(x: Tensor) -> Tensor:
    out = []
    for picture in x.permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=50)
        out.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).contiguous()


def noisy(x: Tensor) -> Tensor:
    return pixels(x + 0.06 * 255 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))


def cropped(x: Tensor) -> Tensor:
    return pixels(F.interpolate(x[..., 1:-1, 1:-1].float(), x.shape[-2:], mode="bilinear"))


ALTERED: dict[str, Callable[[Tensor], Tensor]] = {
    "exact": lambda x: x,
    "mirrored": lambda x: x.flip(3),
    "blur-0.6": partial(blurred, sigma=0.6),
    "blur-0.8": partial(blurred, sigma=0.8),
    "blur-1.2": partial(blurred, sigma=1.2),
    "mean-3x3": averaged,
    "jpeg-50": compressed,
    "noise-0.06": noisy,
    "darker": lambda x: pixels(0.7 * x.float()),
    "crop-1px": cropped,
}


def bursts(x: Tensor, seed: int) -> Tensor:
    """BURST versions of each picture, one after the other: moved by up to 2 pixels, in other light, a little noise."""
    generator = torch.Generator().manual_seed(seed)
    size = x.shape[-1] - 4
    out = []
    for picture in x:
        for _ in range(BURST):
            dy, dx = torch.randint(0, 5, (2,), generator=generator).tolist()
            part = picture[None, :, dy : dy + size, dx : dx + size].float()
            part = F.interpolate(part, x.shape[-2:], mode="bilinear")[0]
            light = 1 + 0.1 * torch.randn(1, generator=generator)
            out.append(pixels(part * light + 4 * torch.randn(part.shape, generator=generator)))
    return torch.stack(out)


class Shelf:
    """Pictures with their features: of CIFAR-10's test set, of altered ones, and of bursts."""

    def __init__(self) -> None:
        from datasets import load_dataset

        from sfumato.judging.features import open_features

        file = shelf("cifar10") / "cifar10" / "test-00000-of-00001.parquet"
        rows = load_dataset("parquet", data_files=str(file), split=f"train[:{PLAIN}]")["img"]
        plain = torch.from_numpy(np.stack([np.asarray(each.convert("RGB")) for each in rows])).permute(0, 3, 1, 2)
        self.extract = open_features("mini")
        self.sets = {"plain": plain.contiguous()}
        self.features: dict[str, np.ndarray] = {}

    def __call__(self, name: str) -> tuple[Tensor, np.ndarray]:
        if name not in self.sets:
            plain = self.sets["plain"]
            self.sets[name] = bursts(plain[:BASES], 0) if name == "bursts" else ALTERED[name](plain[:POOL])
        if name not in self.features:
            self.features[name] = self.extract(self.sets[name])
        return self.sets[name], self.features[name]


def judged(shelf: Shelf, case: str, m: int, seed: int) -> str:
    """The level of one set of samples."""
    from sfumato.judging.memorisation import memorisation

    rng = np.random.default_rng(seed)
    held, n = max(1, m // HELD), min(m, MOST)
    source = "bursts" if case == "bursts" else "plain"
    if case == "bursts":
        order = rng.permutation(BASES)
        parts = np.split(order, np.cumsum([-(-m // BURST), -(-held // BURST), -(-n // BURST)]))
        train, held_out, samples = (
            (BURST * part[:, None] + np.arange(BURST)).ravel()[:count]
            for part, count in zip(parts, (m, held, n), strict=False)
        )
        drawn = source
    else:
        pool, rest = rng.permutation(POOL), POOL + rng.permutation(PLAIN - POOL)
        copied = pool[: min(n, m)]
        train = np.concatenate([copied, rest[: m - len(copied)]])
        held_out = rest[m : m + held]
        samples, drawn = (rest[m + held :][:n], "plain") if case == "fresh" else (copied, case)
    pictures, features = shelf(source)
    shots, theirs = shelf(drawn)
    given = (shots[samples], pictures[train], pictures[held_out])
    return memorisation(theirs[samples], features[train], features[held_out], given, seed).level


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--repeats", type=int, default=20, help="sets of copies a cell; of honest sets twice as many")
    parser.add_argument("--only", nargs="+", default=["fresh", "bursts", *ALTERED], help="these cases alone")
    args = parser.parse_args()
    set_threads(args.threads)
    cells, shelf = Cells("copies", args), Shelf()

    def figures(case: str, repeats: int) -> Figures:
        levels = {m: [judged(shelf, case, m, args.seed + k) for k in range(repeats)] for m in SIZES}
        return {str(m): sum(each in ("some", "strong") for each in levels[m]) / repeats for m in SIZES}

    print(f"share of sets with signs of copies; training pictures: {', '.join(map(str, SIZES))}")
    for case in args.only:
        honest = case in ("fresh", "bursts")
        repeats = 2 * args.repeats if honest else args.repeats
        settings = {"case": case, "repeats": repeats, "most": MOST, "features": "mini"}
        shares = cells.measure(case, settings, partial(figures, case, repeats))["figures"]
        good = max(shares.values()) <= ACCUSED if honest else min(shares.values()) >= FOUND
        print(f"{case:12}", *(f"{share:6.1%}" for share in shares.values()), "PASS" if good else "FAIL", flush=True)


if __name__ == "__main__":
    run(main)
