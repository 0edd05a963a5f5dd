"""What a tuning's report says: not learned, drift with its interval, and what a base of drawings cannot do."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sfumato.judging.stats import Interval
from sfumato.recipe import recipe as recipes
from sfumato.tuning import artifact, report
from sfumato.tuning.score.choose import Candidate, Choice, shortlist, unmeasured
from sfumato.tuning.score.score import Score, right_backgrounds
from sfumato.tuning.start import for_photos

LITTLE = Interval(0.1, 0.05, 0.15)


def finished(likeness: Interval, drift: Interval = LITTLE) -> Any:
    score = Score(20, likeness, Interval(0.9, 0.85, 0.95), drift, 0.0, 1.0, likeness)
    return SimpleNamespace(score=score, choice=Choice(20, "it is the last", (), (score,)), proofs={"peft": 0.0})


@pytest.mark.parametrize(
    ("likeness", "words"),
    [
        (Interval(0, 0, 0), "It has not learned the thing"),
        (Interval(0.1, 0.02, 0.18), "It has not learned the thing"),
        (Interval(0.15, 0.05, 0.3), "It looks only a little like the photos"),
        (Interval(0.5, 0.4, 0.6), "It looks like the photos"),
    ],
)
def test_a_likeness_of_about_0_is_not_learned(likeness: Interval, words: str) -> None:
    assert report.words(finished(likeness)).startswith(words)


@pytest.mark.parametrize(
    ("drift", "words"),
    [
        (Interval(0.35, 0.2, 0.5), "may change other pictures"),
        (Interval(0.25, 0.1, 0.4), "may change other pictures"),
        (Interval(0.5, 0.4, 0.6), "changes other pictures too"),
        (Interval(0.1, 0.05, 0.2), "leaves other pictures unchanged"),
    ],
)
def test_drift_is_judged_by_its_interval(drift: Interval, words: str) -> None:
    assert words in report.words(finished(Interval(0.5, 0.4, 0.6), drift))


def test_without_a_held_out_photo_its_loss_does_not_choose() -> None:
    steps = [Candidate(step, loss, 0.0) for step, loss in ((10, 0.1), (20, 0.5), (30, 0.9), (40, 1.0))]
    assert 10 in shortlist(steps)
    assert shortlist(unmeasured(steps)) == [40]


def test_a_base_of_drawings_names_the_command_for_photos() -> None:
    recipe = recipes.load("tune-mini").with_({"data.source": "/tmp/my photos", "tune.noun": "toy car"})
    words = for_photos("mini", recipe)
    assert "sfumato tune '/tmp/my photos' --noun 'toy car' --base sd15" in words
    assert "mini draws emoji" in words
    assert "4.3 GB" in words


@pytest.mark.parametrize(("source", "own"), [("emoji", True), ("", False)])
def test_a_lora_of_mini_says_that_it_is_only_for_mini(source: str, own: bool) -> None:
    family = SimpleNamespace(
        header=lambda model: {"ss_base_model_version": "sd_v1", "modelspec.architecture": "stable-diffusion-v1/lora"},
        usage=lambda file: "",
    )
    model: Any = SimpleNamespace(
        source=source, recipe=None, name="mini", family=family, shape=(3, 128, 128), identity=None
    )
    recipe = recipes.load("tune-mini").with_({"name": "car", "tune.trigger": "zarnu", "tune.noun": "car"})
    header = artifact.metadata(recipe, model, 20)
    text = artifact.readme(recipe, model, 20)
    assert (header["modelspec.architecture"] == "mini/lora") == own
    assert (header["ss_base_model_version"] == "mini") == own
    assert ("only for mini" in header.get("modelspec.usage_hint", "")) == own
    assert ("only for mini" in text) == own
    assert ("in ComfyUI and A1111, and" in text) != own


def test_wrong_backgrounds_are_prompts_not_followed() -> None:
    """Fidelity alone, which prompt fits best, was 100 % where no background was right."""
    prompts = ["a car on a blue background", "a car on a white background", "a car next to a rocket"]
    colours = torch.tensor([[40, 90, 210], [200, 32, 40], [200, 32, 40]], dtype=torch.uint8)
    pictures = colours[..., None, None].expand(-1, -1, 16, 16)
    assert right_backgrounds(pictures, prompts) == 0.5
    assert right_backgrounds(pictures[[0, 0, 1]], prompts) == 0.5
    good = finished(Interval(0.5, 0.4, 0.6))
    assert "follows prompts and" in report.words(good)
    good.score = replace(good.score, backgrounds=0.5)
    assert "follows prompts badly (50% of the backgrounds are wrong)" in report.words(good)
    assert good.score.to_json()["backgrounds"] == 0.5
