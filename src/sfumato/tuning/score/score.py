"""The score of a LoRA at one step: likeness, fidelity, drift, copying and diversity.

For likeness, pictures are first cropped to their detail and plain backgrounds are made grey, so that things are
compared and not backgrounds. Likeness is the similarity of a picture to its nearest photo, less that to the nearest of
the base's own pictures (of the noun and of other things); 1 is the same difference for the photos themselves. Fidelity
is the share of prompts that fit a picture less well than its own, with the noun in place of the thing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.files import Json
from sfumato.judging.stats import Interval, bootstrap
from sfumato.models.latent import LatentModel
from sfumato.models.sampling import Sampling
from sfumato.pictures.drawn.emoji.read import background
from sfumato.pictures.drawn.emoji.scene import BACKGROUNDS
from sfumato.tuning.score.features import PROMPT_LEVELS, ScoreFeatures, are_photos

SEEDS, STEPS = 3, 12  # seeds of each prompt; steps of the sampler
COSTS = 0.1  # weight of drift in the total
LOW = 0.1  # least scale of likeness, a difference of cosines
COPY = 0.95  # cosine above which a picture repeats a photo; an encoded and decoded photo has 0.99
BESIDE = " next to "  # prompts with this show another thing too, and do not count for likeness
PROMPTS = {
    "emoji": (
        "a {} on a blue background", "a small {} on a white background", "a {} on a yellow background",
        "a large {} on a green background", "a {} on a black background", "a {} next to a rocket",
    ),
    "photos": (
        "a {} on a road", "a {} in a forest", "a {} on a beach at sunset", "a {} in the snow", "a painting of a {}",
        "a {} in a city at night",
    ),
}  # fmt: skip
OTHERS = {
    "emoji": ("a red apple on a blue background", "a rocket", "a cat face on a green background", "a violin"),
    "photos": ("a bowl of fruit on a table", "a mountain lake", "a portrait of an old man", "a house with a garden"),
}


@dataclass(frozen=True)
class Score:
    """The score of a step.

    likeness: 0: like the base's own pictures, 1: as similar as the photos are to each other; fidelity: pictures that
    fit their prompts, 1: as for the base's pictures; drift: change of pictures without the thing, 1: as much as another
    seed changes; copying: share of pictures that repeat a photo and are nearer to it than the photos are to each other;
    diversity: difference between seeds, 1: as for the base; total: likeness x fidelity - COSTS x drift; backgrounds:
    share of pictures that have the background of their prompt, None where it cannot be read.
    """

    step: int
    likeness: Interval
    fidelity: Interval
    drift: Interval
    copying: float
    diversity: float
    total: Interval
    backgrounds: float | None = None

    def to_json(self) -> Json:
        names = ("likeness", "fidelity", "drift", "total")
        return {
            "step": self.step, "copying": self.copying, "diversity": self.diversity, "backgrounds": self.backgrounds,
            **{name: getattr(self, name).to_json() for name in names},
        }  # fmt: skip


def passes(candidates: int) -> int:
    """The number of forward passes to draw and score the base and `candidates` steps."""
    own, other = (SEEDS * len(each["photos"]) for each in (PROMPTS, OTHERS))
    drawn = 2 * STEPS * (own + other)
    return (1 + candidates) * (drawn + own * len(PROMPTS["photos"]) * len(PROMPT_LEVELS) + own + other)


class Nearness:
    """The similarity of pictures to photos, and how much larger it is than that to other pictures.

    photos, strangers (the other pictures): features, (P, D) and (S, D). Similarity is the cosine of features less the
    mean of the strangers.
    """

    def __init__(self, photos: Tensor, strangers: Tensor) -> None:
        self.centre = strangers.mean(0)
        self.photos, self.strangers = self._placed(photos), self._placed(strangers)
        near = self.photos @ self.photos.T
        if len(near) > 1:
            near.fill_diagonal_(-1)
        closest = near.max(1).values
        self.closest = closest.median()
        self.ceiling = (closest - (self.photos @ self.strangers.T).max(1).values).mean().clamp_min(LOW)

    def near(self, features: Tensor) -> Tensor:
        """The similarity of pictures to photos, (N, P)."""
        return self._placed(features) @ self.photos.T

    def repeats(self, near: Tensor) -> Tensor:
        """Whether pictures with these similarities, (N, P), repeat a photo: nearer than photos to each other, (N,)."""
        return near.max(1).values > max(COPY, float(self.closest))

    def share(self, features: Tensor) -> Tensor:
        """Similarity to the nearest photo less that to the nearest stranger, 1: as for the photos themselves, (N,)."""
        placed = self._placed(features)
        return ((placed @ self.photos.T).max(1).values - (placed @ self.strangers.T).max(1).values) / self.ceiling

    def _placed(self, features: Tensor) -> Tensor:
        return torch.nn.functional.normalize(features - self.centre)


class Effort(NamedTuple):
    """Pictures of each prompt, and steps of the sampler."""

    seeds: int = SEEDS
    steps: int = STEPS


class Judge:
    """Scores LoRAs of one base on one thing with fixed prompts and seeds. The base's own pictures are drawn once.

    without: a context manager that switches the LoRA off; photos: uint8 (P, 3, H, W); thing: such as "zarnu car"; noun:
    such as "car"; world: a key of PROMPTS; each_step: called at every step of a sampler, and may raise.
    """

    def __init__(
        self,
        model: LatentModel,
        without: Callable[[], AbstractContextManager[None]],
        photos: Tensor,
        thing: str,
        noun: str,
        world: str,
        effort: Effort = Effort(),
        each_step: Callable[..., None] | None = None,
    ) -> None:
        self.model, self.without, self.each_step = model, without, each_step
        self.seeds, self.steps = effort
        self.features = ScoreFeatures(model, others=world == "photos" or are_photos(photos))
        self.prompts = [p.format(thing) for p in PROMPTS[world]]
        self.plain = [p.format(noun) for p in PROMPTS[world]]
        self.others = list(OTHERS[world])
        self.plainly = world == "emoji"  # whose backgrounds are of one colour and have names
        self.alone = torch.tensor([BESIDE not in p for p in self.prompts]).repeat(self.seeds)
        with without():
            self.before, self.elsewhere = self._drawn(self.plain), self._drawn(self.others)
            self.known = self.features.recognised(self.before, self.plain)
            features, self.seen_elsewhere = self._features(self.before), self._features(self.elsewhere)
            strangers = torch.cat([self.before[self.alone], self.elsewhere])
            self.things = Nearness(self.features.of_things(photos), self.features.of_things(strangers))
            self.whole = Nearness(self.features.places(photos), self.features.places(strangers))
        self.wide = torch.cat([features, self.seen_elsewhere]).std(0) + 1e-6
        self.base_spread = self._spread(features)
        self.apart = self._distance(self.seen_elsewhere, self.seen_elsewhere.roll(len(self.others), 0)).mean()

    def score(self, step: int) -> tuple[Score, Tensor, Tensor]:
        """The score of the model with its present LoRA, from `step`; the pictures that were scored, uint8 (N, 3, H,
        W), and their similarity as a whole to each photo, (N, P).
        """
        drawn, others = self._drawn(self.prompts), self._drawn(self.others)
        with self.without():
            features, known = self._features(drawn), self.features.recognised(drawn, self.plain)
            likeness = self.things.share(self.features.of_things(drawn[self.alone]))
            near = self.whole.near(self.features.places(drawn))
            moved = self._distance(self._features(others), self.seen_elsewhere) / self.apart
        fidelity = known / self.known.mean().clamp_min(1e-3)
        copying = float(self.whole.repeats(near).float().mean())
        diversity = float(self._spread(features) / self.base_spread)
        backgrounds = right_backgrounds(drawn, self.prompts) if self.plainly else None
        measured = likeness.cpu(), fidelity.cpu(), moved.cpu()
        total = bootstrap(measured, lambda a, b, c: _share(a) * _share(b) - COSTS * c.mean())
        mean = [bootstrap(measured[k : k + 1], _share) for k in range(2)]
        drift = bootstrap(measured[2:], torch.mean)
        return Score(step, mean[0], mean[1], drift, copying, diversity, total, backgrounds), drawn, near.cpu()

    def _drawn(self, prompts: Sequence[str]) -> Tensor:
        """Pictures, uint8: `seeds` of each prompt."""
        n = len(prompts) * self.seeds
        return self.model.sample(
            n, texts=prompts, seed=1000, sampling=Sampling(steps=self.steps), callback=self.each_step, warn=False
        )

    def _features(self, pictures: Tensor) -> Tensor:
        return self.features.features(self.model.enter(pictures))

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        return ((a - b) / self.wide).square().mean(1).sqrt()

    def _spread(self, features: Tensor) -> Tensor:
        """Mean distance between seeds of one prompt."""
        rows = features.unflatten(0, (self.seeds, -1))
        return self._distance(rows[:-1].flatten(0, 1), rows[1:].flatten(0, 1)).mean()


def right_backgrounds(pictures: Tensor, prompts: Sequence[str]) -> float:
    """The share of pictures, uint8 (N, 3, H, W), whose border has the colour that its prompt names; picture k has
    prompt k mod P. Prompts that name none do not count. Which prompt fits best does not show it: all can be wrong.
    """
    named = [next((name for name in BACKGROUNDS if f" {name} background" in prompt), None) for prompt in prompts]
    right = [
        background(picture) == named[k % len(named)]
        for k, picture in enumerate(pictures.cpu().numpy())
        if named[k % len(named)] is not None
    ]
    return sum(right) / max(1, len(right))


def _share(values: Tensor) -> Tensor:
    """A mean, clamped to [0, 1]."""
    return values.mean().clamp(0, 1)
