"""One strength for a LoRA, or one for the U-Net and another for the text encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sfumato.errors import UserError
from sfumato.lora.apply import over
from sfumato.lora.formats import write_kohya
from sfumato.lora.named import Strength, paired, weighted

from ..tuning.conftest import base
from .test_formats import SHAPES, tuned


def changes(folder: Path, strength: Any) -> tuple[dict[str, Tensor], list[str]]:
    file = write_kohya(tuned(SHAPES["text encoder"])[1], folder / "a.safetensors", {}, torch.float32)
    model = base()
    changed, lines = over(model, weighted([(file, strength)]))
    before = model.net.state_dict()
    return {name: value - before[name] for name, value in changed.net.state_dict().items()}, lines


def test_two_strengths_are_of_the_u_net_and_of_the_text_encoders(tmp_path: Path) -> None:
    whole, _ = changes(tmp_path, 1.0)
    apart, lines = changes(tmp_path, (0.5, 2))
    assert lines[0].endswith("weights changed, at 0.5, text encoders at 2")
    for part, factor in (("unet.", 0.5), ("text.", 2.0)):
        own = {name: value for name, value in whole.items() if name.startswith(part) and value.any()}
        assert len(own) > 4
        for name, value in own.items():
            assert torch.allclose(apart[name], factor * value, atol=1e-6)
    only, _ = changes(tmp_path, (1.0, 0.0))
    assert not any(value.any() for name, value in only.items() if name.startswith("text."))


@pytest.mark.parametrize(("given", "want"), [("0.8", 0.8), ("0.8,0.4", (0.8, 0.4)), ("-1", -1.0), ("1, 0", (1.0, 0.0))])
def test_strengths_by_their_text(given: str, want: Strength, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert paired([tmp_path / "a.safetensors"], [given]) == [(tmp_path / "a.safetensors", want)]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("much", "--lora-scale much: give a number"), ("1,2,3", "or two, as 0.8,0.4"), ("1,", "give a number"),
        ("0.8,nan", "give a finite number"), ("inf", "give a finite number"),
    ],
)  # fmt: skip
def test_what_is_no_strength_is_one_line(given: str, reason: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=reason) as caught:
        paired([tmp_path / "a.safetensors"], [given])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [("a", 1), (1, 2, 3), (1,), None, "1"])
def test_a_pair_of_another_form_is_one_line(given: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="with a weight of the text encoders"):
        weighted([(tmp_path, given)])
