"""One call at the picture's own level: what is told, levels by number, by picture and by map, and what is refused."""

from __future__ import annotations

import pytest
import torch

from sfumato.denoise.clean import clean, gauged, knows_clipping
from sfumato.denoise.saturation import VOCABULARY
from sfumato.diffusion.level import Level
from sfumato.errors import UserError
from sfumato.model import Model, net_of
from sfumato.recipe import build

from ..tiny import model_of, shaken

NET = {"kind": "plain", "channels": [8, 8], "blocks": 1, "stem": 2, "gauge": True}


def plain(clipped: float = 0.5) -> Model:
    recipe = build({"task": "denoise", "net": NET, "noise": {"clipped": clipped}})
    torch.manual_seed(0)
    return Model(shaken(net_of(recipe.net, (3, 8, 8), VOCABULARY)), recipe, VOCABULARY, (3, 8, 8))


Y = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_it_is_the_denoiser_at_that_level() -> None:
    model = model_of()
    with torch.inference_mode():
        assert torch.equal(clean(model, Y, 0.4), model.denoiser(Y, Level.of(0.4)).clamp(-1, 1))


def test_levels_a_picture_and_by_map() -> None:
    model = plain()
    sigma = torch.tensor([0.1, 0.3, 0.9])
    each = clean(model, Y, sigma)
    for k in range(3):
        assert torch.allclose(each[k : k + 1], clean(model, Y[k : k + 1], float(sigma[k])), atol=1e-5)
    map_ = sigma.view(3, 1, 1, 1).expand(3, 1, 8, 8)
    assert torch.allclose(each, clean(model, Y, map_), atol=1e-5)
    with pytest.raises(UserError, match="one sigma a picture, not a map"):
        clean(model_of(), Y, map_)


def test_a_model_that_knows_clipping_is_told_of_it() -> None:
    model = plain()
    assert knows_clipping(model)
    assert not knows_clipping(model_of())
    assert not torch.allclose(clean(model, Y, 0.4, clipped=True), clean(model, Y, 0.4), atol=1e-4)


def test_a_model_of_pure_noise_makes_up_for_clipping() -> None:
    model, y = model_of(), (2 * Y).clamp(-1, 1)
    assert not torch.equal(clean(model, y, 0.4, clipped=True), clean(model, y, 0.4))
    assert torch.equal(clean(model, y, 0.4, clipped=True, correct=False), clean(model, y, 0.4))


def test_blind() -> None:
    model = plain()
    assert torch.equal(clean(model, Y, None), clean(model, Y, gauged(model, Y)))
    with pytest.raises(UserError, match="does not read the noise level"):
        clean(model_of(), Y, None)
