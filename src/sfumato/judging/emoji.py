"""The verdict on a model of the emoji world: how often it draws what prompts say, and how near to the drawing."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from torch import Tensor

from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.judging.crisp import Through, crisp_bound, drawing_psnr, true_drawings
from sfumato.judging.stats import Interval, wilson
from sfumato.models.model import Model, steps_phase
from sfumato.models.sampling import Sampling
from sfumato.pictures.drawn.emoji.read import Right, compare, read
from sfumato.pictures.drawn.emoji.scene import KINDS, Scene, judged_scene
from sfumato.pictures.drawn.emoji.things import font
from sfumato.progress import Progress, Stop, phases

PARTS = ("things", "background", "size", "place")


@dataclass(frozen=True)
class Kind:
    """The scenes of N prompts and those read from the samples, with the shares that are right, by part.

    samples: uint8 (N, 3, S, S); psnr: of each to the drawing of its prompt, float64 (N,), in dB.
    """

    scenes: list[Scene]
    shown: list[Scene]
    samples: Tensor
    shares: dict[str, Interval]
    psnr: Tensor

    @property
    def median_psnr(self) -> float:
        return float(self.psnr.quantile(0.5))

    def crisp(self, bound: float) -> Interval:
        """The share of pictures whose PSNR to their drawing is above a bound, in dB."""
        return wilson(int((self.psnr > bound).sum()) / len(self.psnr), len(self.psnr))


@dataclass(frozen=True)
class EmojiVerdict:
    """Results by kind of prompts, see `judged_scene`.

    bounds: for each kind the PSNR to its drawing, in dB, above which a picture is crisp; warnings: unknown words and
    cut prompts, one line each.
    """

    kinds: dict[str, Kind]
    bounds: dict[str, float]
    ms_per_picture: float
    warnings: tuple[str, ...] = ()

    def crisp(self, name: str) -> Interval:
        return self.kinds[name].crisp(self.bounds[name])

    def to_json(self) -> Json:
        rows = {
            name.replace(" ", "_"): {
                "n": len(kind.scenes),
                **{part: asdict(s) for part, s in kind.shares.items()},
                "drawing_psnr": kind.median_psnr,
                "crisp": asdict(self.crisp(name)),
                "crisp_bound": self.bounds[name],
            }
            for name, kind in self.kinds.items()
        }
        return {**rows, "ms_per_picture": self.ms_per_picture, "warnings": list(self.warnings)}

    def words(self) -> str:
        def one(name: str, kind: Kind) -> str:
            thing, ground, crisp = kind.shares["things"], kind.shares["background"], self.crisp(name)
            which = {"pairs": "both things", "many": "all things"}.get(name, "thing")
            return (
                f"{name} ({len(kind.scenes)}): {which} right {thing.value:.0%} "
                f"({thing.low:.0%} to {thing.high:.0%}), background {ground.value:.0%}, crisp {crisp.value:.0%} "
                f"({crisp.low:.0%} to {crisp.high:.0%}), {kind.median_psnr:.1f} dB to the drawing"
            )

        return (
            "Prompts and what was read from the pictures: " + "; ".join(one(*item) for item in self.kinds.items()) + "."
        )


def judge_emoji(
    model: Model,
    *,
    n: int = 300,
    seed: int = 0,
    bounds: dict[str, float] | None = None,
    sampling: Sampling = Sampling(),
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> EmojiVerdict:
    """Sample n scenes of each kind and read the pictures.

    bounds: the model's `crisp_bounds`, measured if left out. Raises UserError, also if the font for the true drawings
    is not installed.
    """
    if model.vocabulary.kind != "words" or model.shape[1] != model.shape[2]:
        raise UserError(f"{model.name} does not draw square pictures from captions: the emoji measures do not fit it")
    font()  # before anything is sampled
    tell = phases(progress, stop)
    kinds, seconds = {}, 0.0
    for kind in KINDS:
        scenes = [judged_scene(kind, k) for k in range(n)]
        began = time.perf_counter()
        samples = model.sample(
            n, texts=[s.caption() for s in scenes], seed=seed, sampling=sampling, warn=False,
            callback=steps_phase(f"sampling: {kind}", n, tell),
        )  # fmt: skip
        seconds += time.perf_counter() - began
        kinds[kind] = judged(scenes, samples)
    if bounds is None:
        bounds = crisp_bounds(lambda x: model.leave(model.enter(x)), model.shape[1])
    warnings = model.warnings([scene.caption() for kind in kinds.values() for scene in kind.scenes])
    return EmojiVerdict(kinds, bounds, 1000 * seconds / (n * len(KINDS)), tuple(warnings))


def crisp_bounds(through: Through, side: int) -> dict[str, float]:
    """For each kind the PSNR to its drawing, in dB, above which a picture is crisp, given an autoencoder."""
    return {kind: crisp_bound(through, kind, side) for kind in KINDS}


def judged(scenes: list[Scene], samples: Tensor) -> Kind:
    """Read pictures, uint8 (N, 3, S, S), and compare them with their prompts' scenes."""
    shown: dict[int, Scene] = {}
    for number in sorted({len(scene.things) for scene in scenes}):
        rows = [k for k, scene in enumerate(scenes) if len(scene.things) == number]
        shown.update(zip(rows, read(samples[rows], number), strict=True))
    in_order = [shown[k] for k in range(len(scenes))]
    right: list[Right] = [compare(a, b) for a, b in zip(scenes, in_order, strict=True)]
    shares = {part: wilson(sum(getattr(each, part) for each in right) / len(right), len(right)) for part in PARTS}
    return Kind(scenes, in_order, samples, shares, drawing_psnr(samples, scenes))


def control(through: Through, side: int, n: int = 300) -> dict[str, Kind]:
    """The measure on true drawings, encoded and decoded by an autoencoder: the best that a model with it can reach."""
    found = {}
    for kind in KINDS:
        scenes, true = true_drawings(kind, n, side)
        found[kind] = judged(scenes, through(true))
    return found
