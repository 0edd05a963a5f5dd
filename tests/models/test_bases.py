"""Bases by name: where they are looked for, and what is said where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfumato.errors import UserError
from sfumato.models import bases
from sfumato.models.registry import of_folder


def pipeline(folder: Path, kind: str = "StableDiffusionPipeline", suffix: str = ".safetensors") -> Path:
    """The outline of a pipeline folder."""
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        (folder / part).mkdir(parents=True)
        (folder / part / f"weights{suffix}").touch()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    return folder


@pytest.mark.parametrize("place", ["sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5", "stable-diffusion-v1-5"])
def test_the_shelf_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    folder = pipeline(tmp_path / place)
    assert bases.located("sd15") == folder


def test_a_name_that_is_gone_leads_to_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    pipeline(tmp_path / "stable-diffusion-v1-5")
    assert bases.located("runwayml/stable-diffusion-v1-5") == tmp_path / "stable-diffusion-v1-5"
    assert "is gone from the Hub" in caplog.text


def test_without_a_network_it_is_said_what_to_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"copy its folder.*SFUMATO_DATA/stable-diffusion-2-1") as caught:
        bases.located("sd2")
    assert "\n" not in str(caught.value)


def test_a_path_is_not_taken_for_a_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert bases.is_base("somebody/model")
    assert not bases.is_base("models/mine")
    assert not bases.is_base("runs/mine")
    assert not bases.is_base("cifar10")


def test_what_is_no_pipeline_of_the_family_is_named(tmp_path: Path) -> None:
    of_folder(pipeline(tmp_path / "whole"))
    with pytest.raises(UserError, match=r"is a FluxPipeline: sfumato works with .*StableDiffusionXLPipeline"):
        of_folder(pipeline(tmp_path / "flux", "FluxPipeline"))
    with pytest.raises(UserError, match=r"only weights\.bin, which can run code"):
        of_folder(pipeline(tmp_path / "old", suffix=".bin"))
    (pipeline(tmp_path / "part") / "vae" / "weights.safetensors").unlink()
    with pytest.raises(UserError, match="vae has no weights"):
        of_folder(tmp_path / "part")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "model_index.json").write_text("[]")
    with pytest.raises(UserError, match="does not describe a pipeline"):
        of_folder(tmp_path / "odd")
