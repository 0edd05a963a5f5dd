"""Our files in ComfyUI and A1111, by readers that share no code with our writer: the trained weights, to the digit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sfumato.diffusion.schedule import scaled_linear
from sfumato.errors import UserError
from sfumato.lora.adapter import Shape, attach, taken, without
from sfumato.lora.formats import write_kohya
from sfumato.lora.plain import factored, plain
from sfumato.lora.rules import changed
from sfumato.models.family import LatentNet
from sfumato.models.sd.networks import TextNet
from sfumato.models.sdxl.networks import XLNet

from ..models.sdxl.tiny import SMALL
from ..tuning.conftest import stirred
from .readers import by_a1111, by_comfyui, layers

WORDS: dict[str, Any] = {"vocab_size": 50, "max_position_embeddings": 8, "bos_token_id": 48, "eos_token_id": 49}
EARLIER: dict[str, Any] = {
    "sample_size": 8, "block_out_channels": (8, 16, 16, 16), "norm_num_groups": 4, "layers_per_block": 2,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}  # fmt: skip


def text(width: int, layers_: int) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers_, num_attention_heads=2, **WORDS
    ))  # fmt: skip


def sd15() -> LatentNet:
    unet = UNet2DConditionModel(**EARLIER, cross_attention_dim=24, attention_head_dim=2)
    return TextNet(unet, text(24, 3), scaled_linear())


def sd2() -> LatentNet:
    unet = UNet2DConditionModel(
        **EARLIER, cross_attention_dim=32, attention_head_dim=(1, 2, 2, 2), use_linear_projection=True
    )
    return TextNet(unet, text(32, 4), scaled_linear())


def sdxl() -> LatentNet:
    second = CLIPTextModelWithProjection(CLIPTextConfig(**SMALL.text_2, **WORDS))
    first = CLIPTextModel(CLIPTextConfig(**SMALL.text, **WORDS))
    return XLNet(UNet2DConditionModel(**SMALL.unet), first, second, scaled_linear())


BASES: dict[str, Callable[[], LatentNet]] = {"SD 1.5": sd15, "SD 2": sd2, "SDXL": sdxl}
SHAPES = {
    "alpha is not rank": Shape(rank=3, alpha=7, text=True),
    "rank-stabilised": Shape(rank=4, alpha=2, text=True, rank_stabilised=True),
    "DoRA": Shape(rank=3, alpha=5, text=True, dora=True),
}


def trained(name: str, shape: Shape) -> LatentNet:
    torch.manual_seed(0)
    net = BASES[name]()
    attach(net, shape)
    stirred(cast(Any, net))
    return net


def encoders(net: LatentNet) -> list[nn.Module]:
    return [cast(Any, net).text, *([cast(Any, net).text_2] if isinstance(net, XLNet) else [])]


def merged_by_peft(net: LatentNet) -> dict[str, Tensor]:
    """The weights after PEFT itself has put its layers into them, by the readers' names."""
    whole = copy.deepcopy(net)
    for module in whole.modules():
        if isinstance(module, LoraLayer):
            cast(Any, module).merge()
    table = layers(cast(Any, whole).unet, encoders(whole), ["a", "b"][: len(encoders(whole))])
    return {name: layer.base_layer.weight.detach() for name, layer in table.values() if isinstance(layer, LoraLayer)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", BASES)
def test_other_programs_make_the_trained_weights_of_our_file(name: str, shape: str, tmp_path: Path) -> None:
    live = trained(name, SHAPES[shape])
    with without(live):
        files = {within: plain(taken(live), live, within) for within in ((0.0, 1e-3) if shape == "DoRA" else (0.0,))}
    want = merged_by_peft(live)
    torch.manual_seed(0)
    bare = BASES[name]()
    one = len(encoders(bare)) == 1
    for within, lora in files.items():
        tensors = load_file(write_kohya(lora, tmp_path / "a.safetensors", {}, torch.float32))
        for reader in (by_comfyui, by_a1111):
            table = layers(cast(Any, bare).unet, encoders(bare), ["lora_te"] if one else ["lora_te1", "lora_te2"])
            before = {own: layer.weight.detach() for own, layer in table.values()}
            new, left = reader(tensors, table)
            assert not left
            assert set(new) == set(want)
            assert len({own.split()[0] + own.split()[1][:1] for own in new}) >= 3  # the U-Net's ways and the encoders
            for own, weight in new.items():
                change = (want[own] - before[own]).norm()
                assert change > 0.01 * before[own].norm()
                assert (weight - want[own]).norm() < max(1e-5 * want[own].norm(), 1.01 * within * change), own
        for layer, weight in changed(bare, tensors):  # and so by the rules by which a tuning proves its file
            own = next(each for each, known in table.values() if known is layer)
            assert torch.allclose(weight, new[own], atol=1e-6)


def test_a_key_that_others_do_not_know_is_an_error() -> None:
    net = sd15()
    tensors = {
        f"lora_te1_text_model_encoder_layers_0_mlp_fc1.{end}": value
        for end, value in (("lora_up.weight", torch.ones(48, 2)), ("lora_down.weight", torch.ones(2, 24)))
    }
    with pytest.raises(UserError, match="do not know the key lora_te1_text"):
        changed(net, tensors)
    right = {key.replace("te1", "te"): value for key, value in tensors.items()}
    ((layer, weight),) = changed(net, right)
    assert torch.allclose(weight, cast(Any, layer).weight + 2)  # without alpha the factor is 1
    with pytest.raises(UserError, match="dora_scale"):
        changed(net, right | {next(iter(right)).replace("lora_up.weight", "dora_scale"): torch.ones(48, 1)})


@pytest.mark.parametrize("size", [(20, 12), (12, 20), (6, 5, 3, 3), (16, 1, 3, 3)])
def test_a_change_is_factored_at_the_least_rank(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    exact = factored(torch.randn(size), 0.0)
    delta = torch.randn(size[0], 2) @ torch.randn(2, torch.Size(size[1:]).numel())
    low = factored(delta.reshape(size) * 1e-4, 1e-3)
    assert low.rank <= 2
    assert low.shape == exact.shape == size
    assert torch.allclose(low.scale * low.product(), 1e-4 * delta.reshape(size), atol=2e-9 * float(delta.abs().max()))
    assert low.scale * low.rank == exact.scale * exact.rank == 1  # one alpha at any rank
    assert torch.allclose(exact.up.abs().max(), exact.down.abs().max())
    rough = factored(torch.randn(40, 30), 0.5)
    assert 1 < rough.rank < 30


def test_a_change_of_zeros_is_one_of_rank_one() -> None:
    assert factored(torch.zeros(4, 3)).rank == 1
    assert not factored(torch.zeros(4, 3)).product().any()
