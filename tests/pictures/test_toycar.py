"""The toy car: six different pictures of one thing."""

from __future__ import annotations

import numpy as np
from PIL import ImageColor

from sfumato.pictures.drawn.toycar import BODY, VIEWS, draw


def test_each_view_shows_the_same_colours_on_its_own_background() -> None:
    assert len({view.background for view in VIEWS}) == len(VIEWS) == 6
    for view in VIEWS:
        picture = np.asarray(draw(view, 128))
        assert picture.shape == (128, 128, 3)
        assert tuple(picture[0, 0]) == ImageColor.getrgb(view.background)
        body = np.abs(picture.astype(int) - ImageColor.getrgb(BODY)).max(2) < 40
        assert body.mean() > 0.005
        assert not body[[0, -1]].any()


def test_a_view_to_the_left_is_turned_round() -> None:
    right, left = (np.asarray(draw(VIEWS[k], 96)) for k in (0, 1))
    lamp = np.array(ImageColor.getrgb("#fff3b0"))
    where = [np.argwhere(np.abs(p.astype(int) - lamp).max(2) < 12)[:, 1].mean() / 96 for p in (right, left)]
    assert where[0] > VIEWS[0].middle[0]
    assert where[1] < VIEWS[1].middle[0]
