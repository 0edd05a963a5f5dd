"""LoRAs of a family with two text encoders, which only this test knows: nothing in lora/ is made for one family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sfumato.diffusion.condition import Condition
from sfumato.errors import UserError
from sfumato.lora.adapter import Adapter, Shape, attach, taken, without
from sfumato.lora.formats import CONFIG, WEIGHTS, read, write_kohya, write_peft
from sfumato.lora.lora import merge
from sfumato.lora.origin import origin
from sfumato.models.family import Extent, LatentNet
from sfumato.models.latent import LatentModel
from sfumato.models.sd.family import StableDiffusion
from sfumato.models.sd.networks import TEXT, UNET, text_encoder, unet

from ..tuning.conftest import base, learned, stirred

ONE = replace(TEXT, name="one", reads=("lora_te1_",), writes="lora_te1_text_model_")
TWO = replace(
    ONE, name="two", reads=("lora_te2_",), writes="lora_te2_text_model_", folder="text_encoder_2",
    diffusers="text_encoder_2.",
)  # fmt: skip


class TwoNet(LatentNet):
    """A U-Net that is given the states of two text encoders side by side."""

    parts = (UNET, ONE, TWO)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.unet = unet(8, 4, (32, 64), (False, True), 1, 64)
        self.one, self.two = (text_encoder(len(learned()), 16, 32, 2) for _ in range(2))

    def embedded(self, tokens: Condition) -> Condition:
        ids = tokens.tensors["tokens"]
        both = [each(ids).last_hidden_state for each in (self.one, self.two)]
        return Condition.of(states=torch.cat(both, -1), pooled=both[1][:, -1])

    def layer(self, of: Extent) -> nn.Module:
        found: nn.Module = self.unet.mid_block
        return found

    def save_memory(self) -> None:
        self.unet.enable_gradient_checkpointing()

    def forward(self, x: Tensor, c: Tensor, *, states: Tensor, pooled: Tensor) -> Tensor:
        t = 500 + 100 * c
        out: Tensor = self.unet(x + pooled.mean() / 10, t, encoder_hidden_states=states, return_dict=False)[0]
        return out


class TwoFamily(StableDiffusion):
    def foreign(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str | None:
        mine = any(key.startswith(("lora_te2_", "text_encoder_2.")) for key in tensors)
        return None if mine else "for one text encoder"


def two() -> LatentModel:
    net = TwoNet()
    return replace(base(), net=cast(LatentNet, net.eval().requires_grad_(False)), family=TwoFamily())


def answer(model: LatentModel) -> Tensor:
    x = torch.randn(2, *model.space, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model.network(x, torch.tensor([-0.3, 0.4]), model.condition(["a red car"], 2))


@pytest.fixture(scope="module")
def live() -> LatentModel:
    model = two()
    attach(model.net, Shape(rank=2, alpha=4, text=True))
    stirred(cast(Any, model.net))
    return model


def test_all_encoders_learn(live: LatentModel) -> None:
    names = {name.split("/")[0] for name, _ in Adapter(live.net).named_parameters()}
    assert names == {"unet", "one", "two"}
    with without(live.net):
        assert torch.allclose(answer(live), answer(two()))
    assert not torch.allclose(answer(live), answer(two()), atol=1e-3)


def test_kohyas_file_has_a_prefix_for_each_and_comes_back(live: LatentModel, tmp_path: Path) -> None:
    file = write_kohya(taken(live.net), tmp_path / "a.safetensors", {}, torch.float32)
    assert {key.split("_", 2)[1] for key in load_file(file)} == {"unet", "te1", "te2"}
    fresh = two()
    merge(fresh.net, read(file, fresh), 1.0, str(file))
    assert torch.allclose(answer(fresh), answer(live), atol=1e-4)
    with pytest.raises(UserError, match="Stable Diffusion XL"):  # as a family with one encoder sees it
        read(file, base())


def test_pefts_folder_has_a_folder_for_each_and_comes_back(live: LatentModel, tmp_path: Path) -> None:
    write_peft(taken(live.net), tmp_path, "two", metadata={"sfumato.base": "two"})
    for folder in (".", "text_encoder", "text_encoder_2"):
        assert (tmp_path / folder / WEIGHTS).is_file()
        assert (tmp_path / folder / CONFIG).is_file()
    assert origin(tmp_path).base == "two"
    fresh = two()
    merge(fresh.net, read(tmp_path, fresh), 1.0, str(tmp_path))
    assert torch.allclose(answer(fresh), answer(live), atol=1e-4)


def test_a_lora_of_another_family_is_refused_by_its_own_word(tmp_path: Path) -> None:
    model = base()
    attach(model.net, Shape(rank=2))
    stirred(cast(Any, model.net))
    file = write_kohya(taken(model.net), tmp_path / "a.safetensors", {})
    with pytest.raises(UserError, match="is for one text encoder"):
        read(file, two())


def test_the_parts_are_known_by_what_they_are() -> None:
    net = TwoNet()
    assert [type(each) for each in net.encoders()] == [type(net.one)] * 2
    assert net.denoisers() == [net.unet]
    assert isinstance(net.module(TWO), nn.Module)
