"""What holds an adapter to its base: answers of the base, made once, that the adapter is to give as well.

The base is asked about the photos with noise, and told the class's word, nothing, or a word of its vocabulary: where
only the class is held, all other things drift. With pictures of the class (DreamBooth, Ruiz et al. 2023, eq. 2) it is
these pictures that are to be found.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.schedule import Schedule, stratified
from sfumato.pictures.split import RESERVED
from sfumato.training.tasks.generate import normal

LETTERS, FREQUENT = 3, 8000  # of a word, at least; words that are drawn from
ASKED = 16  # texts of a photo, beside the class's
CLASS, NOTHING = 0.3, 0.2  # shares of questions that name the class, and that say nothing
MOST = 512  # questions
AT_ONCE = 16


@dataclass(frozen=True)
class Prior:
    """Questions and the base's answers. x0, noise, wanted: (N, C, h, w), wanted being what D gives or is to give; u:
    (N,) for the schedule; row: (N,) what is told, of the rows that a task holds."""

    x0: Tensor
    noise: Tensor
    u: Tensor
    row: Tensor
    wanted: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self))


def words(known: Sequence[str], without: str, seed: int) -> list[str]:
    """Words that are one token, the frequent ones, drawn by `seed`; none of those in `without`.

    known: the tokens in the order of their numbers, as `Family.vocabulary` gives them.
    """
    plain = (token.removesuffix("</w>") for token in known if token.endswith("</w>"))
    unlike = {*without.split(), *RESERVED}
    found = [word for word in plain if word.isalpha() and len(word) >= LETTERS and word not in unlike][:FREQUENT]
    random.Random(seed).shuffle(found)
    return found


def asked_of(captions: Sequence[str], thing: str, noun: str, others: Sequence[str]) -> list[str]:
    """What is asked with each caption in turn, 1 + ASKED texts: the caption with the class's word in the thing's place,
    and with other words; every second time the word alone."""
    found = []
    for k, caption in enumerate(captions):
        frame = caption.replace(thing, "{}") if thing in caption and "{" not in caption else "a {}"
        mine = [others[(k * ASKED + j) % len(others)] if others else noun for j in range(ASKED)]
        found += [frame.format(noun), *((frame if j % 2 else "a {}").format(word) for j, word in enumerate(mine))]
    return found


def questions(latents: Tensor, rows: Tensor, nothing: int | None, count: int, seed: int) -> Prior:
    """`count` of them about latents (P, V, C, h, w), levels spread evenly; not yet answered: `wanted` is x0.

    rows: numbers of what is asked of each photo, the class first, (P, K); nothing: the number of the empty text.
    """
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(0, len(latents), (count,), generator=generator)
    x0 = latents[which, torch.randint(0, latents.shape[1], (count,), generator=generator)].cpu()
    noise = normal(x0, generator)
    order = torch.randperm(count, generator=generator)
    u = stratified(count, generator, order)
    coin = torch.rand(count, generator=generator)
    row = rows[which, torch.randint(int(rows.shape[1] > 1), rows.shape[1], (count,), generator=generator)]
    if nothing is not None:
        row = torch.where(coin < CLASS + NOTHING, nothing, row)
    row = torch.where(coin < CLASS, rows[which, 0], row)
    return Prior(x0, noise, u, row, x0)


@torch.no_grad()
def answered(
    asked: Prior,
    base: Denoiser,
    schedule: Schedule,
    told: Callable[[Tensor], Condition],
    progress: Callable[[int, int], None],
) -> Prior:
    """The same with what the base says. told: the conditions of rows (N,)."""
    count, found = len(asked.u), []
    for k in range(0, count, AT_ONCE):
        at = slice(k, k + AT_ONCE)
        level = schedule.draw(asked.u[at])
        cond = told(asked.row[at])
        x0, noise = asked.x0[at].to(cond.device), asked.noise[at].to(cond.device)
        found.append(base(level.mix(x0, noise), level, cond).cpu())
        progress(min(count, k + AT_ONCE), count)
    return Prior(asked.x0, asked.noise, asked.u, asked.row, torch.cat(found))
