"""An export that proves itself, and one that cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sfumato.errors import UserError
from sfumato.lora.adapter import Shape, attach, taken
from sfumato.lora.verify import answer, verify
from sfumato.recipe.recipe import build
from sfumato.tuning import artifact

from ..tuning.conftest import base, stirred


def written(folder: Path, shape: Shape, stir: bool = True, live: Any = None) -> tuple[torch.Tensor, Path]:
    if live is None:
        live = base()
        attach(live.net, shape)
        if stir:
            stirred(live.net)
    learned = {"base": "base", "noun": "car", "trigger": "zarnu", "rank": shape.rank, "alpha": shape.alpha}
    how = {"rank_stabilised": shape.rank_stabilised, "dora": shape.dora}
    recipe = build({"name": "car", "task": "tune", "tune": {**learned, **how}})
    file = artifact.write(taken(live.net), folder, recipe, live, 400, {})
    return answer(live, "a zarnu car"), file


@pytest.mark.parametrize(
    "shape",
    [
        Shape(rank=4, alpha=8, feed_forward=False), Shape(rank=4, alpha=2, text=True),
        Shape(rank=4, alpha=8, rank_stabilised=True), Shape(rank=4, alpha=8, dora=True),
        Shape(rank=4, alpha=8, init="pissa"), Shape(rank=4, alpha=8, text=True, init="olora"),
    ],
)  # fmt: skip
def test_what_was_written_does_what_was_trained(shape: Shape, tmp_path: Path) -> None:
    want, file = written(tmp_path, shape)
    bare = base()
    before = answer(bare, "a zarnu car")
    found = verify(want, bare, tmp_path, file, "a zarnu car")
    assert found.pop("effect") > 1e-3
    assert set(found) == {"kohya", "peft", "diffusers"}
    assert not any("dora_scale" in key for key in load_file(file))
    assert max(found.values()) < 1e-3
    assert torch.equal(answer(bare, "a zarnu car"), before)


def test_a_wrong_alpha_is_found(tmp_path: Path) -> None:
    want, file = written(tmp_path, Shape(rank=4, alpha=8))
    tensors = load_file(file)
    save_file({k: t / 2 if k.endswith(".alpha") else t for k, t in tensors.items()}, file)
    with pytest.raises(UserError, match="files are not right: read by kohya"):
        verify(want, base(), tmp_path, file, "a zarnu car")


def test_a_weak_lora_is_proven_by_what_it_changes(tmp_path: Path) -> None:
    """A file that holds nothing is within 1e-3 of a model that changes less than that."""
    live: Any = base()
    attach(live.net, Shape(rank=4))
    stirred(live.net)
    for name, p in live.net.named_parameters():
        if "lora_B" in name:
            p.data *= 1e-3
    want, file = written(tmp_path, Shape(rank=4), live=live)
    assert verify(want, base(), tmp_path, file, "a zarnu car")["effect"] < 1e-3
    tensors = load_file(file)
    save_file({k: t / 2 if k.endswith(".alpha") else t for k, t in tensors.items()}, file)
    with pytest.raises(UserError, match="files are not right"):
        verify(want, base(), tmp_path, file, "a zarnu car")


def test_no_effect_is_found(tmp_path: Path) -> None:
    want, file = written(tmp_path, Shape(rank=4), stir=False)
    with pytest.raises(UserError, match="changes nothing"):
        verify(want, base(), tmp_path, file, "a zarnu car")


def test_the_header_names_the_trigger(tmp_path: Path) -> None:
    _, file = written(tmp_path, Shape(rank=4))
    with safe_open(file, "pt") as opened:
        facts = opened.metadata()
    assert facts["modelspec.trigger_phrase"] == "zarnu car"
    assert facts["ss_v2"] == "False"
    assert "lora_adapter_metadata" not in facts
    assert "zarnu car" in (tmp_path / "README.md").read_text()


def test_a_dora_says_what_its_files_are(tmp_path: Path) -> None:
    _, file = written(tmp_path, Shape(rank=4, alpha=8, dora=True))
    with safe_open(file, "pt") as opened:
        assert opened.metadata()["ss_network_dim"] == "Dynamic"
    readme = (tmp_path / "README.md").read_text()
    assert "`car.safetensors` holds the same change as a plain LoRA of high rank" in readme
    assert 'pipe.load_lora_weights(".", weight_name="car.safetensors")' in readme
