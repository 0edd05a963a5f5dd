"""Sampling settings as one value, for the public functions and the models. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato import registry
from sfumato.errors import UserError

if TYPE_CHECKING:
    from sfumato.recipe.sections import Sample

OWN = ("negative", "strength")
"""Fields that a model has no default for."""


@dataclass(frozen=True)
class Sampling:
    """Sampling settings. None stands for the model's default.

    Attributes:
        steps: Number of steps of the sampler, 1 or more.
        sampler: Its name, such as "ddim".
        guidance: Scale of classifier-free guidance; 1 is none.
        rescale: Share by which the contrast, which guidance increases, is reduced again, 0 to 1.
        interval: Two sigmas, the lower first, between which guidance acts.
        eta: Amount of fresh noise in each step of ddim, 0 to 1.
        churn: Amount of noise that heun adds in each step (S_churn), 0 or more.
        clip: Whether the denoiser's output is clamped to the pictures' range.
        negative: The negative prompt, which replaces the empty prompt in guidance.
        strength: Share of an initial picture that is replaced, above 0 and at most 1.
        options: Further arguments of the sampler, by name.
    """

    steps: int | None = None
    sampler: str | None = None
    guidance: float | None = None
    rescale: float | None = None
    interval: tuple[float, float] | None = None
    eta: float | None = None
    churn: float | None = None
    clip: bool | None = None
    negative: str | None = None
    strength: float = 0.7
    options: Mapping[str, object] | None = None

    def over(self, defaults: Sample) -> Sample:
        """`defaults`, changed to those of these values that are not None. Raises UserError for an invalid value."""
        from sfumato.recipe.recipe import build  # pydantic, which `import sfumato` does without

        registry.trust(self.sampler)
        changes = {key: value for key, value in asdict(self).items() if value is not None and key not in OWN}
        return build({"sample": defaults.model_dump() | changes}, where="sample").sample

    def check_own(self, sampler: str) -> None:
        """Raises UserError if eta or churn is set and the sampler has no such parameter. Imports the sampler."""
        for name, value, owner in (("eta", self.eta, "ddim"), ("churn", self.churn, "heun")):
            if value is not None and not registry.takes("sampler", sampler, name):
                raise UserError(f"{name} is an option of {owner}, and this is {sampler}: choose the sampler {owner}")

    def check(self) -> None:
        """Needs no model. Raises UserError for an invalid value, and for one that the named sampler does not know."""
        from sfumato.recipe.sections import Sample

        self.over(Sample())
        self.kept(1)
        if self.sampler is None:
            return
        self.check_own(self.sampler)
        if self.options or registry.OUTSIDE.fullmatch(self.sampler):
            registry.arguments(registry.find("sampler", self.sampler), {}, self.options or {}, "sample.options")

    def kept(self, steps: int) -> int:
        """How many of `steps` steps follow after an initial picture. Raises UserError for an invalid strength."""
        if not 0 < self.strength <= 1:
            raise UserError(f"strength={self.strength:g}: the share of the picture to replace is above 0 and at most 1")
        return max(1, round(steps * self.strength))


def check_count(n: int, texts: Sequence[str]) -> None:
    """Raises UserError for a number of pictures below 1, or of the texts."""
    if n < 1:
        raise UserError(f"n={n}: draw at least one picture")
    if n < len(texts):
        raise UserError(f"n={n} is fewer than the {len(texts)} texts: draw one or more of each, or leave n out")


def check_init(init: object) -> None:
    """Raises UserError if an initial picture is the path of no file."""
    if isinstance(init, (str, Path)) and not Path(init).is_file():
        raise UserError(f"init {init}: the file is not there")


def check_seed(seed: object) -> None:
    """Raises UserError if a seed is not a whole number of 0 or more."""
    if not isinstance(seed, Integral) or seed < 0:
        raise UserError(f"seed={seed!r:.60}: a seed is a whole number, 0 or more")
