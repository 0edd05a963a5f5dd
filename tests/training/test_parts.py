"""EMA, learning rate, retention, the loop's randomness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from sfumato.recipe.sections import Train
from sfumato.runs import checkpoint
from sfumato.training import start
from sfumato.training.ema import PowerEMA, exponent
from sfumato.training.loop import learning_rate
from sfumato.training.optimizer import optimizer_for
from sfumato.training.task import generator_for, pieces


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_an_average_is_as_wide_as_it_says(width: float) -> None:
    """The profile of the weights a power EMA gives has the asked relative standard deviation."""
    steps = 4000
    net = nn.Linear(1, 1, bias=False)
    ema = PowerEMA(net, [width])
    weight = torch.zeros(steps, dtype=torch.float64)
    for k in range(steps):
        keep = (1 - 1 / (k + 1)) ** (exponent(width) + 1)
        weight *= keep
        weight[k] = 1 - keep
    t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    mean = (weight * t).sum()
    assert weight.sum() == pytest.approx(1.0)
    assert float((weight * (t - mean) ** 2).sum().sqrt()) == pytest.approx(width, rel=0.02)
    with torch.no_grad():
        net.weight.fill_(3.0)
    ema.update(64, 64)
    assert next(ema.first.parameters()).item() == 3.0


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_the_learning_rate_is_a_function_of_images(images: int, warmup: int) -> None:
    settings = Train(images=10_000, warmup=warmup, batch=10, lr=0.5)
    rate = learning_rate(settings, images)
    assert 0 <= rate <= 0.5
    assert learning_rate(settings, 10_000) == pytest.approx(0, abs=1e-9)
    assert learning_rate(settings.model_copy(update={"decay": "none"}), max(images, warmup)) == 0.5


def test_a_step_has_its_own_randomness() -> None:
    draws = {torch.rand(1, generator=generator_for(seed, images)).item() for seed in range(20) for images in range(50)}
    assert len(draws) == 1000
    assert generator_for(3, 128).initial_seed() == generator_for(3, 128).initial_seed()


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_restored_optimizer_steps_as_the_old_one_would(kind: str) -> None:
    """Also for weights that lie in memory channels last."""
    torch.manual_seed(0)
    nets = [nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    settings = Train(optimizer=kind, lr=0.1)
    optimizers = [optimizer_for(net, settings) for net in nets]

    def step(k: int, seed: int) -> None:
        x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(seed))
        nets[k](x).square().sum().backward()
        optimizers[k].step()
        optimizers[k].zero_grad()

    step(0, 1)
    nets[1].load_state_dict(nets[0].state_dict())
    checkpoint.restore_optimizer(optimizers[1], nets[1], checkpoint.optimizer_tensors(optimizers[0], nets[0]))
    for k in range(2):
        step(k, 2)
    assert torch.equal(nets[0].weight, nets[1].weight)


def test_retention_keeps_the_last_two_the_best_and_spaced_ones(tmp_path: Path) -> None:
    losses = {100 * k: abs(k - 7) + 1.0 for k in range(1, 21)}
    for images, loss in losses.items():
        checkpoint.save(tmp_path, images, {"model": {"w": torch.ones(1)}}, {}, {"held_out": loss})
        checkpoint.prune(tmp_path, 2000, 3)
    kept = [int(path.name) for path in checkpoint.listing(tmp_path)]
    assert kept == [500, 700, 1000, 1500, 1900, 2000]


def test_retention_keeps_what_was_asked_for_by_count(tmp_path: Path) -> None:
    for images in range(100, 1001, 100):
        checkpoint.save(tmp_path, images, {"model": {"w": torch.ones(1)}}, {}, {"held_out": 1.0})
        checkpoint.prune(tmp_path, 1000, 0, every=300)
    assert [int(path.name) for path in checkpoint.listing(tmp_path)] == [100, 300, 600, 900, 1000]


def test_captions_with_new_words_are_held_out_in_peace(tmp_path: Path) -> None:
    for k in range(30):
        picture = np.full((24, 32, 3), 8 * k, np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{k:02d}.png")
        (tmp_path / f"{k:02d}.txt").write_text(f"a picture of thing{k}" + " and more" * (k == 7))
    job = start.prepare(str(tmp_path), ["train.images=32", "net.preset=tiny"], tmp_path / "run")
    assert job.recipe.data.condition == "words"
    assert tuple(job.recipe.data.image_size) == (24, 32)  # type: ignore[arg-type]
    assert len(job.store.held_out) > 0
    start.run(job)


@pytest.mark.parametrize(("rows", "sizes"), [(0, []), (1, [1]), (64, [64]), (65, [64, 1]), (150, [64, 64, 22])])
def test_held_out_pictures_come_in_pieces(rows: int, sizes: list[int]) -> None:
    batch = {"x0": torch.arange(3 * rows).view(rows, 3), "u": torch.arange(rows)}
    parts = list(pieces(batch))
    assert [len(part["u"]) for part in parts] == sizes
    for key, whole in batch.items():
        assert torch.equal(torch.cat([part[key] for part in parts] or [whole]), whole)
    assert [len(part["u"]) for part in pieces(batch, 100)] == [min(100, rows - k) for k in range(0, rows, 100)]
