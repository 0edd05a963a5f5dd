"""The task denoise: what a batch holds, that it is a pure function, and that it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sfumato.errors import UserError
from sfumato.noises.dice import Dice
from sfumato.pictures.store import open_store
from sfumato.recipe import recipe as recipes
from sfumato.training.augment import greyed, mirrored, patches, recoloured, turned
from sfumato.training.task import generator_for
from sfumato.training.tasks.denoise import Denoise

from ..tiny import write_pictures


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Denoise:
    folder = write_pictures(tmp_path_factory.mktemp("pictures"))
    recipe = recipes.build({
        "task": "denoise",
        "data": {"source": str(folder), "image_size": 16, "held_out": 0.2},
        "net": {"kind": "plain", "channels": [8, 8], "blocks": 1, "stem": 2, "gauge": True},
        "noise": {"clipped": 0.5, "grey": 0.3},
    })  # fmt: skip
    return Denoise(recipe, open_store(recipe.data), torch.device("cpu"), "fp32")


def test_a_batch_is_a_pure_function(task: Denoise) -> None:
    one, two = (task.draw(320, 16, generator_for(0, 320)) for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)
    other = task.draw(320, 16, generator_for(1, 320))
    assert not torch.equal(one["noise"], other["noise"])


def test_the_loss_of_a_part_is_its_part_of_the_loss(task: Denoise) -> None:
    batch = task.draw(0, 16, generator_for(0, 0))
    whole = task.loss(task.net, batch)
    part = task.loss(task.net, {key: value[4:9] for key, value in batch.items()})
    assert torch.allclose(whole[4:9], part, atol=1e-5)


def test_it_learns(task: Denoise) -> None:
    before = task.held_out(task.net)
    optimizer = torch.optim.Adam(task.net.parameters(), 3e-3)
    for k in range(120):
        task.loss(task.net, task.draw(16 * k, 16, generator_for(0, k))).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    after = task.held_out(task.net)
    assert after.loss < 0.8 * before.loss
    assert after.bands[-1].loss < 0.7 * before.bands[-1].loss
    assert len(after.bands) == 4
    assert task.preview(task.net).width > 40


def test_two_ways_to_mirror() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3).expand(400, 1, 3, 3)
    found = {tuple(t.flatten().tolist()) for t in mirrored(x, torch.Generator().manual_seed(0))}
    assert found == {tuple(range(9)), (2, 1, 0, 5, 4, 3, 8, 7, 6)}


def test_eight_ways_to_turn() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3).expand(400, 1, 3, 3)
    found = {tuple(t.flatten().tolist()) for t in turned(x, torch.Generator().manual_seed(0))}
    assert len(found) == 8
    wide = torch.arange(6.0).view(1, 1, 2, 3).expand(400, 1, 2, 3)
    assert len({tuple(t.flatten().tolist()) for t in turned(wide, torch.Generator().manual_seed(0))}) == 4


def test_patches_come_from_everywhere() -> None:
    x = torch.arange(36.0).view(1, 1, 6, 6).expand(500, 1, 6, 6)
    cut = patches(x, 4, torch.Generator().manual_seed(0))
    assert cut.shape == (500, 1, 4, 4)
    assert {int(p[0, 0, 0]) for p in cut} == {6 * y + x for y in range(3) for x in range(3)}


def test_grey_pictures_have_one_noise() -> None:
    x, n = torch.rand(4, 3, 5, 5), torch.randn(4, 3, 5, 5)
    which = torch.tensor([True, False, True, False])
    grey, noise = greyed(x, n, which)
    assert torch.equal(grey[1::2], x[1::2])
    assert torch.equal(noise[1::2], n[1::2])
    for t in (grey, noise):
        assert torch.equal(t[0, 0], t[0, 1])
        assert torch.equal(t[2, 1], t[2, 2])


PHOTO = {
    "net": {"kind": "plain", "channels": [8, 8], "blocks": 1, "stem": 2, "gauge": True},
    "noise": {"model": "photo", "prediction": "residual", "sigma_data": 0.016, "weighting": "psnr", "clipped": 0.5},
}


def photo_task(folder: Path) -> Denoise:
    recipe = recipes.build(
        {"task": "denoise", "data": {"source": str(folder), "image_size": 16, "held_out": 0.2}, **PHOTO}
    )
    return Denoise(recipe, open_store(recipe.data), torch.device("cpu"), "fp32")


@pytest.mark.slow
def test_noises_of_photos_are_learned_too(tmp_path: Path) -> None:
    task = photo_task(write_pictures(tmp_path))
    one, two = (task.draw(320, 16, generator_for(0, 320)) for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)
    whole = task.loss(task.net, one)
    assert torch.allclose(whole[4:9], task.loss(task.net, {key: value[4:9] for key, value in one.items()}), atol=1e-4)
    before = task.held_out(task.net)
    optimizer = torch.optim.Adam(task.net.parameters(), 3e-3)
    for k in range(160):
        task.loss(task.net, task.draw(16 * k, 16, generator_for(0, k))).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    after = task.held_out(task.net)
    assert after.bands[-1].loss < 0.7 * before.bands[-1].loss
    assert after.figures["gauge"] != before.figures["gauge"]
    x0 = task.fixed["x0"]
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    gauge = task.net.gauge.requires_grad_(False)
    low, high = (float(gauge(x0 + sigma * noise).mean()) for sigma in (0.02, 0.5))
    assert high > low + 1.5  # ln 25 is 3.2


def test_noises_of_photos_need_colours(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"noise\.model=photo needs pictures in colour"):
        photo_task(write_pictures(tmp_path, grey=True))


def test_other_colours_of_the_same_picture() -> None:
    x = torch.rand(300, 3, 4, 4) * 2 - 1
    made = recoloured(x, Dice(torch.Generator().manual_seed(0), "cpu"))
    same = (made == x).flatten(1).all(1)
    assert 0.4 < float(same.float().mean()) < 0.6
    assert made.abs().max() <= 1
    assert float(made[~same].std()) > 0.4
