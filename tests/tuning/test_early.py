"""Settings of a tuning that do not fit are errors before its base is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfumato.errors import UserError
from sfumato.tuning import start
from sfumato.tuning.job import TuneJob

from .test_photos import scene


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["tune.caption='a {thing}'"], "only {trigger} and {noun} can be used in it"),
        (["tune.caption='a {noun.nothing}'"], "only {trigger} and {noun} can be used in it"),
        (["sample.sampler=nowhere:Sampler"], "nowhere cannot be imported"),
        (["sample.options.a=1"], "sample.options: "),
        (["train.betas=[0.9,-1]"], "each decay rate"),
    ],
)
def test_a_setting_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], reason: str
) -> None:
    monkeypatch.setattr(start, "load", None)
    scene(0, (40, 40)).save(tmp_path / "a.png")
    with pytest.raises(UserError) as caught:
        TuneJob(tmp_path, "car", overrides=overrides, out=tmp_path / "out").plan()
    assert reason in str(caught.value)


def test_a_folder_without_photos_and_a_place_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "load", None)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="holds no photos"):
        TuneJob(tmp_path, "car", out=tmp_path / "out").plan()
    with pytest.raises(UserError, match="choose another --out"):
        TuneJob(tmp_path, "car", out=tmp_path / "file").plan()
