"""The prior: outputs of the base, computed once, that the LoRA learns to reproduce beside the photos.

The base's inputs are noisy photos with prompts that contain the noun, another word of its vocabulary, or nothing; with
the noun alone all other things would drift. With class pictures (DreamBooth, Ruiz et al. 2023, eq. 2) these pictures
are the targets instead.
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

LETTERS, FREQUENT = 3, 8000  # least letters of a word; the number of most frequent words to draw from
OTHERS = 16  # prompts per caption with other words
CLASS, NOTHING = 0.3, 0.2  # shares of examples with the noun, and with the empty prompt
MOST = 512  # examples
AT_ONCE = 16


@dataclass(frozen=True)
class Prior:
    """Examples with targets. x0, noise, target: (N, C, h, w), target: the target of D; u: (N,) for the schedule; row:
    (N,) indices of the prompts in the task's table."""

    x0: Tensor
    noise: Tensor
    u: Tensor
    row: Tensor
    target: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self))


def words(known: Sequence[str], without: str, seed: int) -> list[str]:
    """Frequent words of one token in an order drawn by `seed`, without those in `without`.

    known: the tokens in the order of their numbers, from `Family.vocabulary`.
    """
    plain = (token.removesuffix("</w>") for token in known if token.endswith("</w>"))
    unlike = {*without.split(), *RESERVED}
    frequent = [word for word in plain if word.isalpha() and len(word) >= LETTERS and word not in unlike][:FREQUENT]
    random.Random(seed).shuffle(frequent)
    return frequent


def prior_prompts(captions: Sequence[str], thing: str, noun: str, others: Sequence[str]) -> list[str]:
    """The prompts of the prior, 1 + OTHERS for each caption: the caption with the noun in place of the thing, and with
    other words; for every second of these the word alone."""
    prompts = []
    for k, caption in enumerate(captions):
        frame = caption.replace(thing, "{}") if thing in caption and "{" not in caption else "a {}"
        mine = [others[(k * OTHERS + j) % len(others)] if others else noun for j in range(OTHERS)]
        prompts += [frame.format(noun), *((frame if j % 2 else "a {}").format(word) for j, word in enumerate(mine))]
    return prompts


def prior_inputs(latents: Tensor, rows: Tensor, nothing: int | None, count: int, seed: int) -> Prior:
    """`count` examples of latents (P, V, C, h, w), with evenly spread levels and with x0 as target.

    rows: indices of each photo's prompts, that with the noun first, (P, K); nothing: the index of the empty prompt.
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
def with_base_outputs(
    examples: Prior,
    base: Denoiser,
    schedule: Schedule,
    encoded: Callable[[Tensor], Condition],
    progress: Callable[[int, int], None],
) -> Prior:
    """The same examples with the base's outputs as targets. encoded: a function from rows (N,) to their condition."""
    count, outputs = len(examples.u), []
    for k in range(0, count, AT_ONCE):
        at = slice(k, k + AT_ONCE)
        level = schedule.draw(examples.u[at])
        cond = encoded(examples.row[at])
        x0, noise = examples.x0[at].to(cond.device), examples.noise[at].to(cond.device)
        outputs.append(base(level.mix(x0, noise), level, cond).cpu())
        progress(min(count, k + AT_ONCE), count)
    return Prior(examples.x0, examples.noise, examples.u, examples.row, torch.cat(outputs))
