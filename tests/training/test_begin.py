"""Trainings that begin with a model's weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sfumato
from sfumato.errors import UserError
from sfumato.training import start
from sfumato.zoo import load
from tests.training.conftest import SMALL


def test_a_training_begins_where_another_ended(tmp_path: Path) -> None:
    first = sfumato.train("shapes", [*SMALL, "train.images=32"], tmp_path / "first")
    job = start.prepare("shapes", [*SMALL, "train.images=32", f"train.begin={first.path}"], tmp_path / "second")
    given = load(first.path, "cpu", "fp32").net.state_dict()
    for key, value in job.task.net.state_dict().items():
        assert torch.equal(value, given[key].float()), key


def test_another_network_is_one_line(tmp_path: Path) -> None:
    first = sfumato.train("shapes", [*SMALL, "train.images=16"], tmp_path / "first")
    with pytest.raises(UserError, match=r"another network: .* there and .* here"):
        start.prepare("shapes", [*SMALL, "net.channels=[16,48]", f"train.begin={first.path}"], tmp_path / "second")
    with pytest.raises(UserError, match=r"train\.begin"):
        start.prepare("shapes", [*SMALL, f"train.begin={tmp_path / 'none'}"], tmp_path / "third")


def test_a_run_goes_on_when_what_it_began_with_is_gone(tmp_path: Path) -> None:
    first = sfumato.train("shapes", [*SMALL, "train.images=16"], tmp_path / "first")
    sfumato.train("shapes", [*SMALL, "train.images=16", f"train.begin={first.path}"], tmp_path / "second")
    first.path.rename(tmp_path / "elsewhere")
    again = sfumato.train(tmp_path / "second", ["train.images=32"])
    assert [event["images"] for event in again.events("start")] == [0, 16]


def test_a_checkpoint_of_another_network_is_one_line(tmp_path: Path) -> None:
    first = sfumato.train("shapes", [*SMALL, "train.images=16"], tmp_path / "first")
    job = start.prepare(first.path, ["train.images=32"])
    job.task.net.enter = torch.nn.Conv2d(3, 24, 3)  # as another version of sfumato may build it
    with pytest.raises(UserError, match="another network"):
        start.run(job)
