"""What a GPU records of a training step does what the ordinary step does; recording itself needs a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sfumato.training import start
from sfumato.training.loop import Loop, learning_rate
from sfumato.training.recorded import Numbers
from sfumato.training.task import generator_for
from sfumato.training.watch import Clock
from tests.training.conftest import SMALL


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_step_that_is_recorded_is_the_step(tmp_path: Path, optimizer: str) -> None:
    jobs = [
        start.prepare("shapes", [*SMALL, f"train.optimizer={optimizer}", "train.images=64"], tmp_path / name)
        for name in ("usual", "recorded")
    ]
    usual, other = (Loop(job.task, job.recipe, job.folder, job.accelerator) for job in jobs)
    for _ in range(3):
        images, batch = other.images, other.settings.batch
        whole = other.task.draw(images, batch, generator_for(other.settings.seed, images))
        rate = torch.tensor(learning_rate(other.settings, images))
        shares = torch.tensor(other.ema.shares(images + batch, batch))
        other._recordable(whole, Numbers(rate, shares))
        other.images += batch
        usual._step(Clock(usual.settings))
    for (name, a), b in zip(usual.net.state_dict().items(), other.net.state_dict().values(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6), name
    for a, b in zip(usual._state(), other._state(), strict=True):
        assert torch.allclose(a.float(), b.float(), rtol=1e-4, atol=1e-6)
