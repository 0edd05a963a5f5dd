"""Models by name or path: all a run is called, what falls back, and what cannot be loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sfumato.errors import UserError
from sfumato.models.model import Model
from sfumato.models.names import models
from sfumato.runs import checkpoint
from sfumato.zoo import load

from ..tiny import LABELS, recipe_of, train_run, write_pictures


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two checkpoints on labelled pictures."""
    root = tmp_path_factory.mktemp("run")
    return train_run(root / "ants", recipe_of(write_pictures(root / "pictures")), (160, 320))


class TestLoading:
    def test_a_run_by_all_its_names(self, run: Path) -> None:
        last = run / "checkpoints" / "000000320"
        model = load(run)
        assert (model.name, model.shape, model.vocabulary.words) == ("ants", (3, 16, 16), list(LABELS))
        wanted = model.sample(3, texts=LABELS)
        for name in (str(run), last, last / "ema-0.050.safetensors"):
            assert torch.equal(load(name).sample(3, texts=LABELS), wanted)
        for name in (run / "checkpoints" / "000000160", last / "ema-0.100.safetensors", last / "model.safetensors"):
            assert not torch.equal(load(name).sample(3, texts=LABELS), wanted)
        assert not model.net.training
        assert not any(p.requires_grad for p in model.net.parameters())

    def test_it_is_what_the_run_previewed(self, run: Path) -> None:
        from sfumato.runs.folder import RunFolder

        assert RunFolder(run).recipe().net == load(run).recipe.net
        assert (run / "samples" / "000000320.png").is_file()

    def test_a_folder_of_one_safetensors_and_its_config(self, run: Path, tmp_path: Path) -> None:
        last = run / "checkpoints" / "000000320"
        half = {key: value.half() for key, value in load_file(last / "ema-0.050.safetensors").items()}
        save_file(half, tmp_path / "model.safetensors")
        shutil.copy(last / "config.json", tmp_path)
        found = load(tmp_path).sample(3, texts=LABELS).float() - load(run).sample(3, texts=LABELS).float()
        assert found.abs().mean() < 3

    def test_loading_changes_nothing_in_a_run_that_is_alive(self, run: Path, tmp_path: Path) -> None:
        """A save may be under way while somebody samples."""
        shutil.copytree(run, tmp_path / "run")
        part = tmp_path / "run" / "checkpoints" / ".000000480.part"
        part.mkdir()
        (part / "model.safetensors").write_bytes(b"half")
        load(tmp_path / "run")
        assert (part / "model.safetensors").is_file()

    def test_names_that_lead_nowhere(self, tmp_path: Path) -> None:
        for name in ("shaeps-model", str(tmp_path / "gone"), tmp_path / "gone.safetensors"):
            with pytest.raises(UserError, match="no run folder, checkpoint or model named") as caught:
                load(name)
            assert "\n" not in str(caught.value)
        with pytest.raises(UserError, match="is not a run folder, a checkpoint or a model"):
            load(tmp_path)
        (tmp_path / "recipe.yaml").write_text("{}")
        with pytest.raises(UserError, match="has no whole checkpoint yet"):
            load(tmp_path)
        (tmp_path / "checkpoints").mkdir()
        with pytest.raises(UserError, match="has no whole checkpoint yet"):
            load(tmp_path)

    def test_a_damaged_run_falls_back_and_one_damaged_whole_says_so(self, run: Path, tmp_path: Path) -> None:
        shutil.copytree(run, tmp_path / "run")
        folders = checkpoint.listing(tmp_path / "run" / "checkpoints")
        older = load(folders[0]).sample(2, texts=LABELS)
        self.flip(folders[1] / "ema-0.050.safetensors")
        assert torch.equal(load(tmp_path / "run").sample(2, texts=LABELS), older)
        with pytest.raises(UserError, match=r"ema-0\.050\.safetensors is damaged"):
            load(folders[1])
        with pytest.raises(UserError, match=r"ema-0\.050\.safetensors is damaged"):
            load(folders[1] / "ema-0.050.safetensors")
        (folders[0] / "model.safetensors").unlink()
        with pytest.raises(UserError, match=r"no whole checkpoint yet \(000000320/ema-0.050.safetensors is damaged"):
            load(tmp_path / "run")

    @staticmethod
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)

    @pytest.fixture
    def loose(self, run: Path, tmp_path: Path) -> Path:
        """A model outside its run: config.json and model.safetensors, no manifest."""
        last = run / "checkpoints" / "000000320"
        for name in ("config.json", "model.safetensors"):
            shutil.copy(last / name, tmp_path)
        return tmp_path

    @pytest.mark.parametrize(
        "text",
        [
            "", "{", "\x00\x01", "[]", "5", "null", '"text"', "{}",
            '{"recipe": 1}', '{"recipe": {"net": {"blocks": -1}}}',
            '{"recipe": {}, "vocabulary": []}', '{"recipe": {}, "vocabulary": {"kind": "none"}}',
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("averaged", [False, True])
    def test_a_config_of_rubbish(self, loose: Path, text: str, averaged: bool) -> None:
        if averaged:
            (loose / "model.safetensors").rename(loose / "ema-0.050.safetensors")
        (loose / "config.json").write_text(text)
        with pytest.raises(UserError, match=r"config\.json.*does not describe a model"):
            load(loose)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("shape", None), ("shape", [3, 16]), ("shape", ["a", "b", "c"]), ("shape", [3, 15, 16]), ("shape", 3),
            ("shape", [2, 16, 16]), ("vocabulary", {"kind": "class", "words": ["one"], "length": 1}),
            ("vocabulary", {"kind": "none", "words": [], "length": 0}),
        ],
    )  # fmt: skip
    def test_a_config_of_another_model(self, loose: Path, key: str, value: Any) -> None:
        config = json.loads((loose / "config.json").read_text())
        (loose / "config.json").write_text(json.dumps(config | {key: value}))
        with pytest.raises(UserError) as caught:
            load(loose)
        assert "\n" not in str(caught.value)

    def test_a_missing_config(self, loose: Path) -> None:
        (loose / "config.json").unlink()
        with pytest.raises(UserError, match=r"config\.json does not describe"):
            load(loose)

    @pytest.mark.parametrize("harm", ["empty", "short", "text", "pickle", "other", "wider", "missing", "more"])
    def test_weights_that_are_not_this_models(self, loose: Path, harm: str) -> None:
        path = loose / "model.safetensors"
        tensors = load_file(path)
        first = next(iter(tensors))
        if harm in ("empty", "short", "text", "pickle"):
            content = path.read_bytes()
            other = {"empty": b"", "short": content[:-5], "text": b"not weights at all", "pickle": b"\x80\x04."}
            path.write_bytes(other[harm])
        elif harm == "other":
            save_file({"w": torch.ones(3)}, path)
        elif harm == "wider":
            save_file(tensors | {first: torch.zeros(3, 3)}, path)
        elif harm == "missing":
            save_file({key: value for key, value in tensors.items() if key != first}, path)
        else:
            save_file(tensors | {"extra": torch.zeros(1)}, path)
        with pytest.raises(UserError, match=r"model\.safetensors does not hold this model's weights") as caught:
            load(loose)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_not_finite(self, loose: Path, value: float) -> None:
        tensors = load_file(loose / "model.safetensors")
        tensors["enter.weight"].view(-1)[7] = value
        save_file(tensors, loose / "model.safetensors")
        with pytest.raises(UserError, match=r"enter\.weight is not finite"):
            load(loose)

    def test_the_optimiser_is_not_a_model(self, run: Path) -> None:
        with pytest.raises(UserError, match="does not hold this model's weights"):
            load(run / "checkpoints" / "000000320" / "optimizer.safetensors")

    def test_shipped_models_are_whole(self) -> None:
        for name in models():
            model = load(name)
            assert isinstance(model, Model)
            assert model.name == name
