"""The exact verdict: shares, intervals, and what an ideal and a careless model get."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sfumato.errors import UserError
from sfumato.judge.emoji import Share, control, judge_emoji, judged
from sfumato.pictures.emoji.scene import Scene, asked

from ..pictures.test_emoji import needs_font
from ..tiny import model_of


def drawn(scenes: list[Scene]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(s.draw().transpose(2, 0, 1).copy()) for s in scenes])


@needs_font
def test_true_drawings_are_all_right_and_others_are_not() -> None:
    scenes = [asked("single", k) for k in range(12)]
    assert judged(scenes, drawn(scenes)).shares["things"].value == 1
    assert judged(scenes, drawn(scenes[::-1])).shares["things"].value < 0.3


@needs_font
def test_the_measure_itself_is_measured_through_an_autoencoder() -> None:
    class Same:
        """Gives back what it gets."""

        def encode(self, x: torch.Tensor) -> Any:
            return SimpleNamespace(latent_dist=SimpleNamespace(mean=x))

        def decode(self, x: torch.Tensor) -> Any:
            return SimpleNamespace(sample=x)

    found = control(Same(), 4)
    assert {kind.shares["things"].value for kind in found.values()} == {1.0}


def test_intervals_are_wilsons() -> None:
    share = Share.of(9, 10)
    assert (share.low, share.high) == pytest.approx((0.5958, 0.9821), abs=1e-4)


def test_a_model_without_words_is_refused() -> None:
    with pytest.raises(UserError, match="does not draw square pictures from captions"):
        judge_emoji(model_of(), n=4)
