"""The first thing to say of generated pictures, and the colour of the verdict.

What is wrong comes first: samples nearly alike, then a large distance, then missing variety, then copies. Precision
means nothing where recall is 0: one typical picture repeated has 100 %.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sfumato.files import Json

if TYPE_CHECKING:
    from sfumato.judging.generate import Distance
    from sfumato.judging.memorisation import Memorisation

COLLAPSED, SAMEY = 0.5, 0.1  # share of samples nearly alike: a collapse, and from where they lack variety
FAR, NEAR = 0.5, 0.2  # distance above the floor, 1 being that of one picture repeated: far, and near
POOR, RICH = 0.02, 0.2  # recall below which variety is missing, and above which it is good
FEW = 50  # samples below which nothing good can be concluded


@dataclass(frozen=True)
class Quality:
    """tone: "good", "unclear" or "bad"; reason: a sentence."""

    tone: Literal["good", "unclear", "bad"]
    reason: str

    def to_json(self) -> Json:
        return asdict(self)


def quality(fd: Distance, recall: float, alike: float, copied: Memorisation, n: int) -> Quality:
    """What n samples show. alike: the share of samples nearly alike to another one, see `thumbs.alike_share`."""
    worst, excess = (value - fd.floor for value in (fd.low, fd.value))
    scale = max(fd.scale, 1e-12)
    if alike >= COLLAPSED:
        return Quality("bad", f"The model has collapsed: {alike:.0%} of its samples are nearly alike to another one.")
    if worst > FAR * scale:
        return Quality("bad", f"The samples are far from the training pictures: {_against(fd)}.")
    if recall < POOR:
        few = f", but with {n} samples this can be chance" if n < FEW and recall == 0 and excess < NEAR * scale else ""
        return Quality(
            "unclear" if few else "bad",
            f"Variety is missing: the samples cover {recall:.0%} of the training pictures{few}.",
        )
    if copied.level == "strong":
        return Quality("bad", "The samples copy training pictures.")
    if copied.level == "some":
        return Quality("unclear", "Some samples copy training pictures.")
    if n < FEW:
        return Quality("unclear", f"{n} samples show no fault, but are too few to show that the model is good.")
    if alike >= SAMEY:
        return Quality("unclear", f"Variety is low: {alike:.0%} of the samples are nearly alike to another one.")
    if recall < RICH:
        return Quality("unclear", f"Variety is low: the samples cover {recall:.0%} of the training pictures.")
    if excess > NEAR * scale:
        return Quality("unclear", f"The samples are at some distance from the training pictures: {_against(fd)}.")
    if copied.level == "unknown":
        return Quality("unclear", "The samples are close to real pictures, but copies cannot be ruled out.")
    if excess <= 0:
        return Quality("good", f"With {n} samples they cannot be told from real pictures, and they are varied.")
    return Quality("good", "The samples are close to real pictures and varied, without a sign of copies.")


def _against(fd: Distance) -> str:
    return (
        f"a distance of {fd.value:.4g}, where real held-out pictures have {fd.floor:.4g} "
        f"and one picture repeated about {fd.scale + fd.floor:.4g}"
    )
