"""A model as an object: facts and a denoiser. The two kinds are `PixelModel` and `LatentModel`."""

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
    """n random generators: picture k has the seed `seed + k`, in any batch. Raises UserError for an invalid seed."""
    check_seed(seed)
    return [torch.Generator().manual_seed((seed + k) % 2**64) for k in range(n)]


@dataclass(kw_only=True)
class Model(ABC):
    """A trained model: facts and a denoiser.

    Attributes:
        net: The network F(x, c, **condition), see `Preconditioned`.
        vocabulary: Its labels, or the words of its captions or prompts.
        shape: (C, H, W) of its pictures.
        schedule: Its noise levels in training and sampling.
        prediction: The meaning of F's output, a key of `denoiser.PREDICTIONS`.
        sigma_data: Standard deviation of clean pictures or latents.
        defaults: Its sampling settings.
        task: What it was trained for: "generate", "denoise" or "text".
        precision: Number format of its arithmetic: "fp32", "bf16", "fp16" or "fp64".
        source: Its training data, as in a recipe's `data.source`; "" if unknown.
        recipe: The recipe of its training; None if sfumato did not train it.
        facts: The content of its config.json.
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
        """D(x, level, cond) -> x0, for pictures in [-1, 1] or latents, in float32 (float64 for precision fp64)."""
        return Preconditioned(self.network, self.prediction, self.sigma_data)

    def network(self, x: Tensor, c: Tensor, cond: Condition | None) -> Tensor:
        """F(x, c, cond), computed in the model's precision."""
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
        """The condition of texts (labels, captions or prompts): n rows, row k is of texts[k % len(texts)].

        None without texts. Raises UserError if the model has no condition, or does not know these texts.
        """

    @property
    @abstractmethod
    def null(self) -> Condition | None:
        """The empty condition, one row; None if the model has no condition."""

    @abstractmethod
    def enter(self, pictures: Tensor) -> Tensor:
        """Pictures, uint8 (N, C, H, W), as the network's input, (N, *space). Raises UserError for another size."""

    @abstractmethod
    def leave(self, x: Tensor) -> Tensor:
        """The denoiser's output, (N, *space), as pictures, uint8 (N, C, H, W) on the CPU."""

    @abstractmethod
    def cleaner(self) -> Cleaner:
        """The model for denoising photos. Raises UserError if it cannot do that."""

    @abstractmethod
    def sized(self, height: int, width: int) -> Model:
        """The same model for pictures of another size. Raises UserError if it cannot draw that size."""

    def warnings(self, texts: Sequence[str] | None, negative: str | None = None) -> list[str]:
        """One line about each part of the texts or the negative prompt that the model omits or does not know."""
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
        """Draw n pictures, uint8 (n, C, H, W). Picture k depends only on seed + k, not on n or the batch.

        Args:
            n: Number of pictures, 1 or more.
            texts: A label, caption or prompt, or several; picture k has the condition texts[k % len(texts)].
            seed: Seed of picture 0; 0 or more.
            sampling: Sampling settings; a value of None is replaced by the model's default.
            init: A picture to start from, uint8 (C, H, W); `sampling.strength` of it is replaced.
            batch: Number of pictures that are drawn at once; left out: as many as fit into memory.
            callback: Called with (first, step) in every step of the batch that starts with picture `first`.
            warn: Emit each line of `warnings` as a PromptWarning.

        Raises:
            UserError: A value is out of its range, or the model cannot draw or has no such condition.
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
        """`defaults` with the changes of `sampling`. Raises UserError for invalid values and those without effect."""
        s = sampling.over(self.defaults)
        sampling.check_own(s.sampler)
        if sampling.guidance not in (None, 1) and self.vocabulary.kind == "none":
            raise UserError(f"{self.name} takes no labels or prompts, which guidance needs: leave guidance out")
        return s

    def evaluations(self, s: Sample) -> int:
        """Calls of the denoiser for a picture; with guidance each call runs the network twice. Raises UserError."""
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
        """Remove the noise from a picture, as `sfumato.denoising.denoise.denoise`. Raises UserError."""
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
        """Draw n pictures as `sample`; returns them, uint8 (n, C, H, W), and a film of the reverse process."""
        frames: list[Tensor] = []
        captions: list[str] = []

        def see(first: int, step: Step) -> None:
            frames.append(self._frame(step.x, step.level))
            captions.append(caption(step.level))

        done = self.sample(n, texts=texts, seed=seed, sampling=sampling, init=init, batch=n, callback=see)
        return done, Film([*frames, done], [*captions, "done"])

    def forward_film(self, pictures: Tensor, seed: int = 0, sampling: Sampling = Sampling()) -> Film:
        """A film of the forward process: pictures, uint8 (N, C, H, W), with more and more noise, drawn from `seed`."""
        levels = self._path(self.settings(sampling))
        x0 = self.enter(pictures)
        noise = torch.stack([torch.randn(self.space, generator=g) for g in picture_generators(seed, len(x0))]).to(x0)
        path = [levels[i] for i in range(len(levels) - 1, -1, -1)]
        return Film([self._frame(level.mix(x0, noise), level) for level in path], [caption(level) for level in path])

    def _frame(self, x: Tensor, level: Level) -> Tensor:
        return frame(x, float(level.alpha), float(level.sigma), self.sigma_data)


@dataclass(frozen=True)
class Film:
    """The stages of a process. frames: uint8 (N, C, H, W) each; captions: the title of each."""

    frames: list[Tensor]
    captions: list[str]


def caption(level: Level) -> str:
    """The sigma / alpha of a level as a text."""
    ratio = float(level.ratio)
    return "pure noise" if ratio == float("inf") else f"sigma {ratio:.3g}"


def steps_phase(what: str, n: int, tell: Stages) -> Callable[[int, Step], None]:
    """A callback for `Model.sample` with n pictures, which reports its steps as progress of the phase `what`."""

    def report(first: int, step: Step) -> None:
        tell(what, min(n * step.steps, first * step.steps + (step.index + 1) * len(step.x)), n * step.steps)

    return report


def fitting_batch(shape: Sequence[int], device: str) -> int:
    """How many pictures to draw at once: 1 to 512, with at most 2^19 values in all on a CPU, 2^24 on a GPU."""
    budget = 2**19 if device == "cpu" else 2**24
    return max(1, min(512, budget // (shape[0] * shape[1] * shape[2])))
