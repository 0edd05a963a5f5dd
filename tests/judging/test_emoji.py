"""The exact verdict: shares, intervals, and what an ideal and a careless model get."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from sfumato.errors import UserError
from sfumato.judging import emoji
from sfumato.judging.crisp import crisp_bound, drawing_psnr, true_drawings
from sfumato.judging.emoji import EmojiVerdict, control, judge_emoji, judged
from sfumato.judging.stats import wilson
from sfumato.pictures.drawn.emoji.scene import KINDS, Scene, judged_scene

from ..pictures.test_emoji import needs_font
from ..tiny import model_of


def drawn(scenes: list[Scene], side: int = 64, jitter: tuple[float, float] = (0, 0)) -> torch.Tensor:
    return torch.stack([torch.from_numpy(s.draw((side, side), jitter).transpose(2, 0, 1).copy()) for s in scenes])


def soft(pictures: torch.Tensor, share: float = 0.3, width: int = 3) -> torch.Tensor:
    """Pictures as a careless autoencoder gives them back: a share of each pixel is the mean around it."""
    mean = F.avg_pool2d(pictures.float(), width, 1, width // 2, count_include_pad=False)
    return (share * mean + (1 - share) * pictures.float()).round().to(torch.uint8)


@needs_font
def test_true_drawings_are_all_right_and_others_are_not() -> None:
    scenes = [judged_scene("single", k) for k in range(12)]
    assert judged(scenes, drawn(scenes)).shares["things"].value == 1
    assert judged(scenes, drawn(scenes[::-1])).shares["things"].value < 0.3


@needs_font
def test_scenes_of_two_and_three_things_are_judged_together() -> None:
    scenes = [judged_scene("many", k) for k in range(9)]
    assert {len(scene.things) for scene in scenes} == {2, 3}
    kind = judged(scenes, drawn(scenes))
    assert kind.shares["things"].value == 1
    assert kind.shown == scenes
    other = [Scene((*scene.things[:-1], "snail"), scene.background) for scene in scenes]
    assert judged(other, drawn(scenes)).shares["things"].value == 0


@needs_font
@pytest.mark.parametrize("side", [64, 128])
def test_a_drawing_is_itself_wherever_jitter_moves_it(side: int) -> None:
    scenes = [judged_scene(kind, k) for kind in KINDS for k in range(3)]
    for jitter in ((0.0, 0.0), (1.0, -1.0), (-0.6, 0.3)):
        assert drawing_psnr(drawn(scenes, side, jitter), scenes).tolist() == pytest.approx([100.0] * len(scenes))


@needs_font
def test_psnr_to_the_drawing_is_that_of_its_definition() -> None:
    scenes = [Scene(("duck",), "grey", "small"), Scene(("cat", "dog"), "grey"), Scene(("owl",) * 3, "grey")]
    worse = drawn(scenes, 64, (0.5, 0.5)).float()
    worse[:, :, ::2] += 10
    assert worse.max() <= 255 + 10
    expected = [
        10 * math.log10(255**2 / float((w.clamp(max=255) - d).double().square().mean()))
        for w, d in zip(worse, drawn(scenes, 64, (0.5, 0.5)).float(), strict=True)
    ]
    found = drawing_psnr(worse.clamp(max=255).to(torch.uint8), scenes)
    assert found.tolist() == pytest.approx(expected, abs=0.01)


@needs_font
def test_another_thing_is_far_from_the_drawing() -> None:
    scenes = [judged_scene("single", k) for k in range(12)]
    assert drawing_psnr(drawn(scenes[::-1]), scenes).median() < 20


@needs_font
@pytest.mark.parametrize("side", [64, 128])
def test_crisp_begins_three_db_below_what_an_autoencoder_keeps(side: int) -> None:
    bound = crisp_bound(soft, "single", side, 40)
    scenes, true = true_drawings("single", 40, side)
    psnr = drawing_psnr(soft(true), scenes)
    assert float((psnr >= bound + 3).float().mean()) == pytest.approx(0.95, abs=0.01)
    assert crisp_bound(lambda x: x, "single", side, 8) == 37
    blots = drawing_psnr(soft(true, 1.0, side // 8 + 1), scenes)
    assert float((psnr > bound).float().mean()) > 0.95
    assert float((blots > bound).float().mean()) < 0.1


@needs_font
def test_the_measure_itself_is_measured_through_an_autoencoder() -> None:
    found = control(lambda x: x, 64, 6)
    assert set(found) == set(KINDS)
    assert {kind.shares["things"].value for kind in found.values()} == {1.0}
    assert {kind.median_psnr for kind in found.values()} == {100.0}


@needs_font
def test_a_verdict_says_what_is_right_and_what_is_crisp() -> None:
    kinds = {
        name: judged(scenes, drawn(scenes)) for name in KINDS for scenes in [[judged_scene(name, k) for k in range(3)]]
    }
    verdict = EmojiVerdict(kinds, dict.fromkeys(KINDS, 25.0), 1.0)
    assert "many (3): all things right 100% (44% to 100%), background 100%, crisp 100%" in verdict.words()
    assert "100.0 dB to the drawing" in verdict.words()
    row = verdict.to_json()["held_out"]
    assert row["crisp"]["value"] == 1
    assert row["crisp_bound"] == 25
    assert row["drawing_psnr"] == pytest.approx(100)


def test_intervals_are_wilsons() -> None:
    share = wilson(9 / 10, 10)
    assert (share.low, share.high) == pytest.approx((0.5958, 0.9821), abs=1e-4)


def test_a_model_without_words_is_refused() -> None:
    with pytest.raises(UserError, match="does not draw square pictures from captions"):
        judge_emoji(model_of(), n=4)


def test_without_the_font_nothing_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise UserError("apt install fonts-noto-color-emoji")

    monkeypatch.setattr(emoji, "font", none)
    model: Any = SimpleNamespace(vocabulary=SimpleNamespace(kind="words"), shape=(3, 64, 64), name="mini")
    with pytest.raises(UserError, match="apt install"):  # and not for want of `model.sample`
        judge_emoji(model, n=2)
