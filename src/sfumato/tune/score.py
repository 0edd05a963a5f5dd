"""How good is a LoRA at one step? Likeness, fidelity, drift, copying and diversity, seen with the base's own eyes.

Features are what the middle of the base's U-Net makes of a picture's latents with a little noise, told nothing. For
likeness pictures are first cut to where their detail lies, and compared place by place, so that a thing is compared
with a thing and not a background with a background.
Fidelity asks the base which of the prompts a picture was drawn for: the one under which its noise is best predicted
(Li et al. 2023, "Your diffusion model is secretly a zero-shot classifier"), with the class's word in the thing's place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato.diffusion.level import Level
from sfumato.text.model import TextModel
from sfumato.tune.subject import cut

LOOK = 0.3  # sigma / alpha at which pictures are looked at
SEEDS, STEPS = 3, 12  # of each prompt; of a picture
ASKED = (0.5, 1.0, 2.0)  # sigma / alpha at which prompts are compared
COSTS = 0.1  # of a change of other pictures as large as another seed's, in likeness x fidelity
LOW = 0.05  # a likeness of photos to each other below which it says nothing
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
class Measure:
    """A mean with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Score:
    """What a step is worth.

    likeness: 1 as the photos are to each other; fidelity: prompts that are recognised, 1 as well as the base's own
    pictures; drift: change of pictures without the subject, 1 as much as another seed;
    copying: share of pictures nearer to one photo than the photos are to each other; diversity: spread over seeds, 1 as
    the base's; total: likeness x fidelity - COSTS x drift.
    """

    step: int
    likeness: Measure
    fidelity: Measure
    drift: Measure
    copying: float
    diversity: float
    total: Measure

    def to_json(self) -> dict[str, Any]:
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


class Judge:
    """Scores adapters of one base on one thing with fixed prompts and seeds. The base's own pictures are drawn once.

    without: a context in which the model is its base; photos: uint8 (P, 3, H, W); thing: as "zarnu car"; noun: as
    "car"; world: a key of PROMPTS.
    """

    def __init__(
        self,
        model: TextModel,
        without: Callable[[], Any],
        photos: Tensor,
        thing: str,
        noun: str,
        world: str,
        seeds: int = SEEDS,
        steps: int = STEPS,
    ) -> None:
        self.model, self.without, self.seeds, self.steps = model, without, seeds, steps
        self.prompts = [p.format(thing) for p in PROMPTS[world]]
        self.plain = [p.format(noun) for p in PROMPTS[world]]
        self.others = list(OTHERS[world])
        self.alone = torch.tensor([BESIDE not in p for p in self.prompts]).repeat(seeds)
        with without():
            self.photos = self.of_things(photos)
            self.before, self.elsewhere = self._drawn(self.plain), self._drawn(self.others)
            latents = self.model.enter(self.before)
            self.known = self.recognised(latents)
            alone = self.of_things(self.before[self.alone])
            seen, self.seen_elsewhere = self.features(latents), self.features(self.model.enter(self.elsewhere))
            apart = self.of_things(self.elsewhere)
        self.centre = torch.cat([alone, apart]).mean(0)
        self.spread = torch.cat([alone, apart]).std(0) + 1e-6
        near = self.near(self.photos)
        near.fill_diagonal_(-1)
        self.ceiling = _off_diagonal(self.near(self.photos)).clamp_min(LOW)
        self.closest = near.max(1).values.median()
        self.base_likeness = float(_share(self.near(alone) / self.ceiling))
        self.wide = torch.cat([seen, self.seen_elsewhere]).std(0) + 1e-6
        self.base_spread = self._spread(seen)
        self.apart = self._distance(self.seen_elsewhere, self.seen_elsewhere.roll(len(self.others), 0)).mean()

    def score(self, step: int) -> tuple[Score, Tensor, Tensor]:
        """The score of the model as it is now, with its adapter at `step`; the pictures it was judged by, uint8 (N, 3,
        H, W), and how near each is to each photo, (N, P).
        """
        drawn, others = self._drawn(self.prompts), self._drawn(self.others)
        with self.without():
            latents = self.model.enter(drawn)
            seen, known = self.features(latents), self.recognised(latents)
            near = self.near(self.of_things(drawn))
            moved = self._distance(self.features(self.model.enter(others)), self.seen_elsewhere) / self.apart
        likeness = near[self.alone].mean(1) / self.ceiling
        fidelity = known / self.known.mean().clamp_min(1e-3)
        copying = float((near.max(1).values > self.closest).float().mean()) if len(self.photos) > 1 else 0.0
        diversity = float(self._spread(seen) / self.base_spread)
        measured = likeness.cpu(), fidelity.cpu(), moved.cpu()
        total = _bootstrap(measured, lambda a, b, c: _share(a) * _share(b) - COSTS * c.mean())
        mean = [_bootstrap(measured[k : k + 1], _share) for k in range(2)]
        drift = _bootstrap(measured[2:], torch.mean)
        return Score(step, mean[0], mean[1], drift, copying, diversity, total), drawn, near.cpu()

    def features(self, latents: Tensor) -> Tensor:
        """What the middle of the U-Net sees, means and deviations over places: (N, D)."""
        states = self._seen(latents)
        return torch.cat([states.mean((2, 3)), states.std((2, 3))], 1)

    def of_things(self, pictures: Tensor) -> Tensor:
        """What it sees of the things on pictures, uint8 (N, 3, H, W), place by place: (N, D)."""
        return self._seen(self.model.enter(cut(pictures))).flatten(1)

    @torch.inference_mode()
    def _seen(self, latents: Tensor) -> Tensor:
        model: Any = self.model
        unet, found = model.net.unet, []
        hook = unet.mid_block.register_forward_hook(lambda module, told, out: found.append(out.float()))
        level = Level.of(LOOK)
        noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(0)).to(latents.device)
        null = model.tell(None, 1)
        try:
            for part in latents.split(16):
                x = level.mix(part, noise.expand_as(part))
                model.denoiser.raw(x, level, null.expand(len(part), -1, -1))
        finally:
            hook.remove()
        return torch.cat(found)

    @torch.inference_mode()
    def recognised(self, latents: Tensor) -> Tensor:
        """Share of the other prompts that a picture fits less well than its own, (N,); picture k is of k mod P."""
        model = self.model
        states = model.tell(self.plain, len(self.plain))
        assert states is not None
        errors = torch.zeros(len(latents), len(states))
        noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(1)).to(latents.device)
        for ratio in ASKED:
            level = Level.of(ratio)
            for j in range(len(states)):
                for k, part in enumerate(latents.split(16)):
                    x = level.mix(part, noise.expand_as(part))
                    away = model.denoiser(x, level, states[j : j + 1].expand(len(part), -1, -1)) - part
                    errors[16 * k : 16 * k + len(part), j] += away.square().flatten(1).mean(1).cpu() / ratio**2
        own = torch.arange(len(latents)) % len(states)
        right = errors.gather(1, own[:, None])
        return (errors > right).float().sum(1) / (len(states) - 1)

    def near(self, seen: Tensor) -> Tensor:
        """Cosines between pictures and photos, (N, P), after what all the base's pictures share is taken off."""
        a, b = ((each - self.centre) / self.spread for each in (seen, self.photos))
        return torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T

    def _drawn(self, prompts: Sequence[str]) -> Tensor:
        """Pictures, uint8: one of each prompt, and again with other seeds."""
        n = len(prompts) * self.seeds
        return self.model.sample(n, texts=prompts, seed=1000, steps=self.steps)

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        return ((a - b) / self.wide).square().mean(1).sqrt()

    def _spread(self, seen: Tensor) -> Tensor:
        """Mean distance between seeds of one prompt."""
        rows = seen.unflatten(0, (self.seeds, -1))
        return self._distance(rows[:-1].flatten(0, 1), rows[1:].flatten(0, 1)).mean()


def _share(values: Tensor) -> Tensor:
    """A mean, kept between nothing and all."""
    return values.mean().clamp(0, 1)


def _off_diagonal(near: Tensor) -> Tensor:
    n = len(near)
    if n == 1:
        return near.new_ones(())
    return (near.sum() - near.diagonal().sum()) / max(1, n * (n - 1))


def _bootstrap(rows: Sequence[Tensor], figure: Callable[..., Tensor], draws: int = 400) -> Measure:
    """`figure` of several measures, pictures of each drawn with replacement."""
    generator = torch.Generator().manual_seed(0)

    def again(row: Tensor) -> Tensor:
        return row[torch.randint(0, len(row), (len(row),), generator=generator)]

    found = [float(figure(*map(again, rows))) for _ in range(draws)]
    low, high = torch.tensor(found).quantile(torch.tensor([0.025, 0.975])).tolist()
    return Measure(float(figure(*rows)), low, high)
