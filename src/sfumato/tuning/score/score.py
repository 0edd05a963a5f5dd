"""How good is a LoRA at one step? Likeness, fidelity, drift, copying and diversity.

For likeness pictures are first cut to where their detail lies, plain backgrounds made grey, so that a thing is compared
with a thing and not a background with a background. Likeness is what a picture is nearer to one of the photos than to
any of the base's own pictures of such things and others, as a share of what the photos are among each other. Fidelity
is how surely a picture is recognised as of its own prompt, with the class's word in the thing's place.
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
from sfumato.tuning.score.eyes import ASKED, Eyes

SEEDS, STEPS = 3, 12  # of each prompt; of a picture
COSTS = 0.1  # of a change of other pictures as large as another seed's, in likeness x fidelity
LOW = 0.1  # a nearness of photos to each other, in cosines, below which it says nothing
COPY = 0.95  # a cosine above which a picture repeats a photo; a photo through the autoencoder has 0.99
BESIDE = " next to "  # in a prompt whose pictures show more than the thing
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
    """What a step is worth.

    likeness: 0 as the base's own pictures of the noun are, 1 as the photos are to each other; fidelity: prompts that
    are recognised, 1 as well as the base's own pictures; drift: change of pictures without the subject, 1 as much as
    another seed; copying: share of pictures that repeat a photo, and are nearer to it than the photos are to each
    other; diversity: spread over seeds, 1 as the base's; total: likeness x fidelity - COSTS x drift.
    """

    step: int
    likeness: Interval
    fidelity: Interval
    drift: Interval
    copying: float
    diversity: float
    total: Interval

    def to_json(self) -> Json:
        names = ("likeness", "fidelity", "drift", "total")
        return {
            "step": self.step, "copying": self.copying, "diversity": self.diversity,
            **{name: getattr(self, name).to_json() for name in names},
        }  # fmt: skip


def passes(looks: int) -> int:
    """Forward passes to draw and judge the base and so many steps."""
    own, other = (SEEDS * len(each["photos"]) for each in (PROMPTS, OTHERS))
    drawn = 2 * STEPS * (own + other)
    return (1 + looks) * (drawn + own * len(PROMPTS["photos"]) * len(ASKED) + own + other)


class Nearness:
    """How near pictures come to some photos, and how much nearer than to strangers.

    photos, strangers: features, (P, D) and (S, D). Nearness is the cosine after what all strangers share is taken off.
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

    def near(self, seen: Tensor) -> Tensor:
        """Of pictures to photos: (N, P)."""
        return self._placed(seen) @ self.photos.T

    def repeats(self, near: Tensor) -> Tensor:
        """Whether pictures that are so near, (N, P), repeat a photo: nearer than the photos are to each other, (N,)."""
        return near.max(1).values > max(COPY, float(self.closest))

    def share(self, seen: Tensor) -> Tensor:
        """What pictures are nearer to a photo than to a stranger, 1 as the photos are to another photo: (N,)."""
        placed = self._placed(seen)
        return ((placed @ self.photos.T).max(1).values - (placed @ self.strangers.T).max(1).values) / self.ceiling

    def _placed(self, seen: Tensor) -> Tensor:
        return torch.nn.functional.normalize(seen - self.centre)


class Effort(NamedTuple):
    """Pictures of each prompt, and steps of the sampler."""

    seeds: int = SEEDS
    steps: int = STEPS


class Judge:
    """Scores adapters of one base on one thing with fixed prompts and seeds. The base's own pictures are drawn once.

    without: a context in which the model is its base; photos: uint8 (P, 3, H, W); thing: as "zarnu car"; noun: as
    "car"; world: a key of PROMPTS; each_step: called at every step of a sampler, and may raise.
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
        self.eyes = Eyes(model, others=world == "photos")
        self.prompts = [p.format(thing) for p in PROMPTS[world]]
        self.plain = [p.format(noun) for p in PROMPTS[world]]
        self.others = list(OTHERS[world])
        self.alone = torch.tensor([BESIDE not in p for p in self.prompts]).repeat(self.seeds)
        with without():
            self.before, self.elsewhere = self._drawn(self.plain), self._drawn(self.others)
            self.known = self.eyes.recognised(self.before, self.plain)
            seen, self.seen_elsewhere = self._features(self.before), self._features(self.elsewhere)
            strangers = torch.cat([self.before[self.alone], self.elsewhere])
            self.things = Nearness(self.eyes.of_things(photos), self.eyes.of_things(strangers))
            self.whole = Nearness(self.eyes.places(photos), self.eyes.places(strangers))
        self.wide = torch.cat([seen, self.seen_elsewhere]).std(0) + 1e-6
        self.base_spread = self._spread(seen)
        self.apart = self._distance(self.seen_elsewhere, self.seen_elsewhere.roll(len(self.others), 0)).mean()

    def score(self, step: int) -> tuple[Score, Tensor, Tensor]:
        """The score of the model as it is now, with its adapter at `step`; the pictures it was judged by, uint8 (N, 3,
        H, W), and how near each is to each photo, as a whole, (N, P).
        """
        drawn, others = self._drawn(self.prompts), self._drawn(self.others)
        with self.without():
            seen, known = self._features(drawn), self.eyes.recognised(drawn, self.plain)
            likeness = self.things.share(self.eyes.of_things(drawn[self.alone]))
            near = self.whole.near(self.eyes.places(drawn))
            moved = self._distance(self._features(others), self.seen_elsewhere) / self.apart
        fidelity = known / self.known.mean().clamp_min(1e-3)
        copying = float(self.whole.repeats(near).float().mean())
        diversity = float(self._spread(seen) / self.base_spread)
        measured = likeness.cpu(), fidelity.cpu(), moved.cpu()
        total = bootstrap(measured, lambda a, b, c: _share(a) * _share(b) - COSTS * c.mean())
        mean = [bootstrap(measured[k : k + 1], _share) for k in range(2)]
        drift = bootstrap(measured[2:], torch.mean)
        return Score(step, mean[0], mean[1], drift, copying, diversity, total), drawn, near.cpu()

    def _drawn(self, prompts: Sequence[str]) -> Tensor:
        """Pictures, uint8: one of each prompt, and again with other seeds."""
        n = len(prompts) * self.seeds
        return self.model.sample(
            n, texts=prompts, seed=1000, sampling=Sampling(steps=self.steps), callback=self.each_step, warn=False
        )

    def _features(self, pictures: Tensor) -> Tensor:
        return self.eyes.features(self.model.enter(pictures))

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        return ((a - b) / self.wide).square().mean(1).sqrt()

    def _spread(self, seen: Tensor) -> Tensor:
        """Mean distance between seeds of one prompt."""
        rows = seen.unflatten(0, (self.seeds, -1))
        return self._distance(rows[:-1].flatten(0, 1), rows[1:].flatten(0, 1)).mean()


def _share(values: Tensor) -> Tensor:
    """A mean, kept between nothing and all."""
    return values.mean().clamp(0, 1)
