"""The exact verdict on a model of the emoji world: does it draw what it is told?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato.errors import UserError
from sfumato.model import Model
from sfumato.pictures.emoji.read import Right, compare, read
from sfumato.pictures.emoji.scene import ASKED, Scene, asked

Progress = Callable[[str, int, int], None]
PARTS = ("things", "background", "size", "place")


@dataclass(frozen=True)
class Share:
    """A share and its 95 % score interval (Wilson 1927)."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, right: int, n: int, z: float = 1.96) -> Share:
        p = right / n
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return cls(p, max(0.0, centre - half), min(1.0, centre + half))


@dataclass(frozen=True)
class Kind:
    """What was asked for, what came, and the shares that are right, by part."""

    scenes: list[Scene]
    seen: list[Scene]
    samples: Tensor
    shares: dict[str, Share]


@dataclass(frozen=True)
class EmojiVerdict:
    """Kinds of prompts: "single" scenes as taught, thing x background "held out", "pairs" held out.

    warnings: what of the prompts the model does not read or does not know, a line each.
    """

    kinds: dict[str, Kind]
    ms_per_picture: float
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        rows = {
            name.replace(" ", "_"): {"n": len(kind.scenes), **{part: asdict(s) for part, s in kind.shares.items()}}
            for name, kind in self.kinds.items()
        }
        return {**rows, "ms_per_picture": self.ms_per_picture, "warnings": list(self.warnings)}

    def words(self) -> str:
        def one(name: str, kind: Kind) -> str:
            thing, paper = kind.shares["things"], kind.shares["background"]
            both = "both things" if name == "pairs" else "thing"
            return (
                f"{name} ({len(kind.scenes)}): {both} right {thing.value:.0%} "
                f"({thing.low:.0%} to {thing.high:.0%}), background {paper.value:.0%}"
            )

        return "Of its prompts, drawn and read exactly: " + "; ".join(one(*item) for item in self.kinds.items()) + "."


def judge_emoji(
    model: Model, *, n: int = 300, seed: int = 0, progress: Progress | None = None, **changes: Any
) -> EmojiVerdict:
    """Ask for n scenes of each kind and read what is drawn. changes: of the `sample` section. Raises UserError."""
    if model.vocabulary.kind != "words" or model.shape[1] != model.shape[2]:
        raise UserError(f"{model.name} does not draw square pictures from captions: the emoji measures do not fit it")
    kinds, seconds = {}, 0.0
    for kind in ASKED:
        scenes = [asked(kind, k) for k in range(n)]
        began = time.perf_counter()

        def see(first: int, step: Any, kind: str = kind) -> None:
            if progress is not None:
                done = first * step.steps + (step.index + 1) * len(step.x)
                progress(f"drawing: {kind}", min(n * step.steps, done), n * step.steps)

        samples = model.sample(n, texts=[s.caption() for s in scenes], seed=seed, callback=see, warn=False, **changes)
        seconds += time.perf_counter() - began
        kinds[kind] = judged(scenes, samples)
    warnings = model.warnings([scene.caption() for kind in kinds.values() for scene in kind.scenes])
    return EmojiVerdict(kinds, 1000 * seconds / (n * len(ASKED)), tuple(warnings))


def judged(scenes: list[Scene], samples: Tensor) -> Kind:
    """Pictures, uint8 (N, 3, S, S), read and compared with what they should show."""
    seen = read(samples, len(scenes[0].things))
    right: list[Right] = [compare(a, b) for a, b in zip(scenes, seen, strict=True)]
    shares = {part: Share.of(sum(getattr(each, part) for each in right), len(right)) for part in PARTS}
    return Kind(scenes, seen, samples, shares)


def control(vae: Any, n: int = 300) -> dict[str, Kind]:
    """The measure itself: true drawings sent through an autoencoder, which bounds what any model on it can reach."""
    found = {}
    for kind in ASKED:
        scenes = [asked(kind, k) for k in range(n)]
        true = torch.stack([torch.from_numpy(s.draw().transpose(2, 0, 1).copy()) for s in scenes])
        with torch.inference_mode():
            x = torch.cat([
                vae.decode(vae.encode(part.float() / 127.5 - 1).latent_dist.mean).sample for part in true.split(32)
            ])  # fmt: skip
        found[kind] = judged(scenes, ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))
    return found
