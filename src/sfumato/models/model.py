"""A model as an object: facts and a denoiser. Its kinds are `PixelModel` and `LatentModel`."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sfumato.denoising.arrays import P
from sfumato.denoising.cleaner import Cleaner
from sfumato.denoising.denoise import Cleaning, Sigma, denoise
from sfumato.device import Policy
from sfumato.diffusion.condition import Condition, tensors_of
from sfumato.diffusion.denoiser import Clipped, Denoiser, Preconditioned
from sfumato.diffusion.guidance import Guided
from sfumato.diffusion.level import Level
from sfumato.diffusion.samplers import Step, evaluations
from sfumato.diffusion.schedule import Schedule
from sfumato.errors import PromptWarning, UserError, one_or_more
from sfumato.files import Json
from sfumato.models.named import sampler_of
from sfumato.models.sampling import Sampling, check_seed
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.progress import Stages
from sfumato.recipe.recipe import Recipe
from sfumato.recipe.sections import Sample
from sfumato.show.film import frame


def picture_generators(seed: int, n: int) -> list[torch.Generator]:
    """One generator for each picture: picture k has the seed `seed + k`, in any batch. Raises UserError if it is
    negative.
    """
    check_seed(seed)
    return [torch.Generator().manual_seed((seed + k) % 2**64) for k in range(n)]


@dataclass(kw_only=True)
class Model(ABC):
    """Facts plus a denoiser.

    net: F(x, c, **condition); vocabulary: of its labels, captions or prompts; shape: (C, H, W) of its pictures;
    schedule: of noise levels; prediction: the meaning of F's output, a key of `denoiser.PREDICTIONS`; sigma_data:
    standard deviation of clean pictures or latents; defaults: its sampling settings; task: what it was trained for;
    precision: of its arithmetic; source: its training data, as in a recipe's data.source, "" if unknown; recipe: of its
    training, None if sfumato did not train it; facts: the content of its config.json.
    """

    net: nn.Module
    vocabulary: Vocabulary
    shape: tuple[int, int, int]
    schedule: Schedule
    prediction: str
    sigma_data: float = 0.5
    defaults: Sample = field(default_factory=Sample)
    task: str = "generate"
    name: str = "model"
    device: str = "cpu"
    precision: str = "fp32"
    source: str = ""
    recipe: Recipe | None = None
    facts: Json = field(default_factory=dict)

    @property
    def denoiser(self) -> Denoiser:
        """D(x, level, cond) -> x0 with x in [-1, 1] scale, float32 (or the network's own float64)."""
        return Preconditioned(self.network, self.prediction, self.sigma_data)

    def network(self, x: Tensor, c: Tensor, cond: Condition | None) -> Tensor:
        """The network in the model's precision."""
        with self.autocast():
            found: Tensor = self.net(x, c, **tensors_of(cond))
            return found

    def autocast(self) -> torch.autocast:
        """A context in which the arithmetic has the model's precision."""
        return Policy.of(self.precision).autocast(self.device)

    @property
    @abstractmethod
    def space(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's input: pictures or latents."""

    @abstractmethod
    def condition(self, texts: Sequence[str] | None, n: int) -> Condition | None:
        """The condition of labels, captions or prompts, n rows, text k mod len in row k; None without texts.

        Raises UserError if the model has no condition, or does not know these texts.
        """

    @property
    @abstractmethod
    def null(self) -> Condition | None:
        """The empty condition, one row; None if the model has no condition."""

    @abstractmethod
    def enter(self, pictures: Tensor) -> Tensor:
        """Pictures, uint8 (N, C, H, W), as the network's input. Raises UserError if they are of another size."""

    @abstractmethod
    def leave(self, x: Tensor) -> Tensor:
        """The denoiser's output as pictures, uint8 (N, C, H, W) on the CPU."""

    @abstractmethod
    def cleaner(self) -> Cleaner:
        """The model for denoising photos. Raises UserError if it cannot do that."""

    @abstractmethod
    def sized(self, height: int, width: int) -> Model:
        """The same model for pictures of another size. Raises UserError if it cannot draw that size."""

    def warnings(self, texts: Sequence[str] | None, negative: str | None = None) -> list[str]:
        """The parts of texts that the model cuts off or does not know, a line each."""
        return []

    @torch.inference_mode()
    def sample(
        self,
        n: int = 16,
        *,
        texts: str | Sequence[str] | None = None,
        seed: int = 0,
        sampling: Sampling = Sampling(),
        init: Tensor | None = None,
        batch: int | None = None,
        callback: Callable[[int, Step], None] | None = None,
        warn: bool = True,
    ) -> Tensor:
        """Draw n pictures, uint8 (n, C, H, W). Picture k depends on seed + k alone, not on n or the batch.

        texts: a label or caption, or several: picture k is of texts[k % len]; init: a picture, uint8 (C, H, W), to
        start from; batch: pictures at a time, left out: as many as fit; callback(first, step): at every step of the
        batch that starts with picture `first`; warn: give each of `warnings` as a PromptWarning. Raises UserError.
        """
        if n < 1:
            raise UserError(f"n={n}: draw at least one picture")
        if self.task == "denoise":
            raise UserError(f"{self.name} was trained to clean pictures, not to draw them: use `sfumato denoise`")
        texts = None if texts is None else one_or_more("texts", texts)
        s = self.settings(sampling)
        sampler = sampler_of(s)
        cond = self.condition(texts, n)
        null = self.null if sampling.negative is None else self.condition([sampling.negative], 1)
        for line in self.warnings(texts, sampling.negative) if warn else ():
            warnings.warn(line, PromptWarning, stacklevel=3)  # 2 is inference_mode
        levels = self._path(s)
        start: Tensor | float = 0.0
        if init is not None:
            levels = levels[len(levels) - 1 - sampling.kept(s.steps) :]
            start = float(levels.alpha[0]) * self.enter(init[None])
        batch = batch or fitting_batch(self.shape, self.device)
        dtype = Policy.of(self.precision).state
        done = []
        for first in range(0, n, batch):
            count = min(batch, n - first)
            generators = picture_generators(seed + first, count)

            def fresh(generators: list[torch.Generator] = generators) -> Tensor:
                return torch.stack([torch.randn(self.space, generator=g) for g in generators]).to(self.device, dtype)

            part = None if cond is None else cond[first : first + count]
            each_step = None if callback is None else (lambda step, first=first: callback(first, step))
            x = sampler(
                self._prepared(s, part, null), start + float(levels.sigma[0]) * fresh(), levels, part,
                noise=fresh, callback=each_step,
            )  # fmt: skip
            done.append(self.leave(x))
        return torch.cat(done)

    def settings(self, sampling: Sampling = Sampling()) -> Sample:
        """`defaults` with what `sampling` changes. Raises UserError on a bad value, and on one that changes nothing."""
        s = sampling.over(self.defaults)
        sampling.check_own(s.sampler)
        if sampling.guidance not in (None, 1) and self.vocabulary.kind == "none":
            raise UserError(f"{self.name} takes no labels or prompts, which guidance needs: leave guidance out")
        return s

    def evaluations(self, s: Sample) -> int:
        """Calls of the denoiser for a picture; with guidance each evaluates the network twice. Raises UserError."""
        return evaluations(sampler_of(s), self._path(s))

    def _path(self, s: Sample) -> Level:
        try:
            return self.schedule.path(s.steps)
        except ValueError as error:
            raise UserError(str(error)) from error

    def _prepared(self, s: Sample, cond: Condition | None, null: Condition | None) -> Denoiser:
        ready: Denoiser = self.denoiser
        if cond is not None and null is None and s.guidance != 1:
            raise UserError(f"{self.name} was not trained without labels, which guidance needs: leave guidance out")
        if cond is not None and null is not None and s.guidance != 1:
            ready = Guided(ready, s.guidance, null, s.interval or (0.0, float("inf")), s.rescale)
        return Clipped(ready) if s.clip else ready

    def denoise(self, picture: P, sigma: Sigma = None, cleaning: Cleaning = Cleaning()) -> P:
        """Clean a picture at its own noise level: see `sfumato.denoising.denoise.denoise`."""
        return denoise(self.cleaner(), picture, sigma, cleaning)

    def film(
        self,
        n: int = 8,
        *,
        texts: Sequence[str] | None = None,
        seed: int = 0,
        sampling: Sampling = Sampling(),
        init: Tensor | None = None,
    ) -> tuple[Tensor, Film]:
        """Draw n pictures as `sample` does, and record the way there. Returns the pictures and the reverse process."""
        frames: list[Tensor] = []
        captions: list[str] = []

        def see(first: int, step: Step) -> None:
            frames.append(self._frame(step.x, step.level))
            captions.append(caption(step.level))

        done = self.sample(n, texts=texts, seed=seed, sampling=sampling, init=init, batch=n, callback=see)
        return done, Film([*frames, done], [*captions, "done"])

    def forward_film(self, pictures: Tensor, seed: int = 0, sampling: Sampling = Sampling()) -> Film:
        """The forward process: pictures, uint8 (N, C, H, W), with more and more noise. seed: of the noise."""
        levels = self._path(self.settings(sampling))
        x0 = self.enter(pictures)
        noise = torch.stack([torch.randn(self.space, generator=g) for g in picture_generators(seed, len(x0))]).to(x0)
        path = [levels[i] for i in range(len(levels) - 1, -1, -1)]
        return Film([self._frame(level.mix(x0, noise), level) for level in path], [caption(level) for level in path])

    def _frame(self, x: Tensor, level: Level) -> Tensor:
        return frame(x, float(level.alpha), float(level.sigma), self.sigma_data)


@dataclass(frozen=True)
class Film:
    """Stages of a process, uint8 (N, C, H, W) each, and the title of each."""

    frames: list[Tensor]
    captions: list[str]


def caption(level: Level) -> str:
    """A level's noise relative to the picture's contrast, as a text."""
    ratio = float(level.ratio)
    return "pure noise" if ratio == float("inf") else f"sigma {ratio:.3g}"


def steps_phase(what: str, n: int, tell: Stages) -> Callable[[int, Step], None]:
    """A callback for `Model.sample` of n pictures, which reports their steps as a phase."""

    def report(first: int, step: Step) -> None:
        tell(what, min(n * step.steps, first * step.steps + (step.index + 1) * len(step.x)), n * step.steps)

    return report


def fitting_batch(shape: Sequence[int], device: str) -> int:
    """How many pictures to draw at once: about a million values on a CPU, sixteen million on a GPU."""
    budget = 2**19 if device == "cpu" else 2**24
    return max(1, min(512, budget // (shape[0] * shape[1] * shape[2])))
