"""Scenes drawn many at once are those drawn one by one, bit for bit."""

from __future__ import annotations

import pytest
import torch

from sfumato.pictures.drawn.emoji.canvas import Canvas
from sfumato.pictures.drawn.emoji.scene import Scene, nth
from sfumato.pictures.drawn.emoji.things import subjects

from .test_emoji import needs_font


@needs_font
@pytest.mark.parametrize("side", [33, 64, 128])
def test_a_canvas_draws_what_a_scene_draws(side: int) -> None:
    scenes = [(scene, jitter) for scene, _, jitter in (nth("canvas", k) for k in range(300))]
    assert {len(scene.things) for scene, _ in scenes} == {1, 2, 3}
    canvas = Canvas(side)
    drawn = canvas.draw(canvas.layout(scenes))
    for picture, (scene, jitter) in zip(drawn, scenes, strict=True):
        assert (picture.permute(1, 2, 0).numpy() == scene.draw((side, side), jitter)).all()


@needs_font
def test_subjects_are_drawn_and_a_part_of_a_layout_is_its_part() -> None:
    canvas = Canvas(64)
    scenes = [(Scene((name,), "pink", "large"), (1.0, -1.0)) for name in subjects()]
    layout = canvas.layout(scenes)
    rows = torch.tensor([20, 3])
    drawn = canvas.draw(layout[rows])
    for picture, k in zip(drawn, rows.tolist(), strict=True):
        assert (picture.permute(1, 2, 0).numpy() == scenes[k][0].draw((64, 64), (1.0, -1.0))).all()


@needs_font
def test_more_scenes_than_fit_in_one_go() -> None:
    canvas = Canvas(128)
    scenes = [(scene, jitter) for scene, _, jitter in (nth("canvas", k) for k in range(40))]
    whole = canvas.draw(canvas.layout(scenes))
    parts = torch.cat([canvas.draw(canvas.layout([each])) for each in scenes])
    assert (whole == parts).all()
    assert len(canvas.draw(canvas.layout([]))) == 0


def test_a_tiny_canvas_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        Canvas(8)
