"""What the base is asked, and that its answers are its own."""

from __future__ import annotations

import torch

from sfumato.lora.adapter import Shape, attach, without
from sfumato.pictures.split import RESERVED
from sfumato.tuning.prior import OTHERS, prior_inputs, prior_prompts, with_base_outputs, words

from .conftest import base, learned, stirred

KNOWN = sorted(learned().get_vocab(), key=learned().get_vocab().__getitem__)


def test_words_are_known_and_not_the_things_own() -> None:
    found = words(KNOWN, "zarnu car", 0)
    assert {"red", "road", "house", "cat"} <= set(found)
    assert not {"car", *RESERVED} & set(found)
    assert found != words(KNOWN, "zarnu car", 1)
    assert sorted(found) == sorted(words(KNOWN, "zarnu car", 1))


def test_captions_are_asked_with_other_words() -> None:
    told = prior_prompts(["a small zarnu car on a road", "my photo {1}"], "zarnu car", "car", ["cat", "house"])
    assert len(told) == 2 * (1 + OTHERS)
    assert told[0] == "a small car on a road"
    assert {"a small house on a road", "a cat"} <= set(told[1 : 1 + OTHERS])
    assert set(told[1 + OTHERS :]) == {"a car", "a cat", "a house"}
    assert set(prior_prompts(["a zarnu car"], "zarnu car", "car", [])) == {"a car"}


def test_inputs_cover_all_levels_and_prompts() -> None:
    latents = torch.arange(6.0).view(2, 3, 1, 1, 1).expand(2, 3, 4, 8, 8)
    rows = torch.arange(10, 20).view(2, 5)
    asked = prior_inputs(latents, rows, 7, 400, 0)
    assert sorted((asked.u * 400).long().tolist()) == list(range(400))
    assert 0.1 < (asked.row == 7).float().mean() < 0.3
    told = asked.row != 7
    photo = asked.x0[:, 0, 0, 0].long() // 3
    assert torch.equal((asked.row[told] - 10) // 5, photo[told])
    first = ((asked.row - 10) % 5 == 0) & told
    assert 0.2 < first.float().mean() < 0.4


def test_answers_are_the_bases_with_no_adapter() -> None:
    model = base()
    attach(model.net, Shape(rank=2))  # type: ignore[arg-type]
    asked = prior_inputs(torch.randn(2, 1, *model.space), torch.zeros(2, 3, dtype=torch.int64), None, 20, 0)
    states = model.condition(["a red car"], 1)
    done: list[tuple[int, int]] = []
    found = []
    for _ in range(2):
        with without(model.net):  # type: ignore[arg-type]
            found.append(with_base_outputs(
                asked, model.denoiser, model.schedule, lambda row: states.repeat(len(row)),
                lambda a, b: done.append((a, b)),
            ))  # fmt: skip
        stirred(model.net)  # type: ignore[arg-type]
    assert done[:2] == [(16, 20), (20, 20)]
    assert torch.equal(found[0].target, found[1].target)
    assert not torch.equal(found[0].target, asked.x0)
