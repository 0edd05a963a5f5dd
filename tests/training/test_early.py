"""Settings that do not fit are errors before any picture is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sfumato.errors import UserError
from sfumato.training import start
from sfumato.training.tasks import text
from tests.training.conftest import SMALL


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["net.channels=[16,32,64]"], "3 levels of channels and 2 of attention"),
        (["net.channels=[9,18]"], "multiples of 8"),
        (["net.channels=[0,8]"], "net.channels: channels are 1 or more"),
        (["data.image_size=30"], "30 is not divisible by 4"),
        (["net.kind=plain", "data.image_size=30"], "30 x 30 is not a multiple of 4"),
        (["net.options.wide=3"], "net.options: unet_of: got an unexpected keyword argument 'wide'"),
        (["options.strength=3"], "options: Generate: got an unexpected keyword argument 'strength'"),
        (["train.betas=[0.9,1]"], "train.betas: each decay rate is 0 or more and below 1"),
        (["train.begin=mni"], "train.begin: no run folder, checkpoint or model named mni; did you mean mini"),
        (["task=text", "noise.schedule=edm"], "task text: noise.schedule must be one with timesteps"),
        (["task=text", "noise.schedule=cosine", "text.autoencoder=mni"], "text.autoencoder: no run folder"),
        (["task=autoencoder", "net.encoder=mni"], "net.encoder: no run folder"),
    ],
)
def test_a_setting_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], reason: str
) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("the pictures were opened")

    monkeypatch.setattr(start, "open_store", opened)
    with pytest.raises(UserError) as caught:
        start.prepare("shapes", [*SMALL, *overrides], tmp_path / "run")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(start, "open_store", None)
    with pytest.raises(UserError, match=r"cannot write .*file/run: .*file is a file; choose another --out"):
        start.prepare("shapes", SMALL, tmp_path / "file" / "run")


def test_networks_on_latents_are_built_before_anything_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("the pictures were encoded")

    monkeypatch.setattr(text, "encoded", never)
    words = ("data.image_size=16", "train.batch=8", "train.precision=fp32", "data.condition=words", "task=text")
    more = ("noise.schedule=scaled-linear-zero", "noise.prediction=v", "net.channels=[48,96]")
    with pytest.raises(UserError, match=r"net: .*48"):
        start.prepare("shapes", [*words, *more, "net.attention=[false,true]"], tmp_path / "run")
