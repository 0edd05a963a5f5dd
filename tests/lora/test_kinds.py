"""What other trainers write: LoHa, LoKr, Tucker's form, full changes, norms, DoRA by columns, alphas and patterns."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

import sfumato
from sfumato.errors import PromptWarning, UserError
from sfumato.lora.apply import over
from sfumato.lora.formats import CONFIG, WEIGHTS, read, write_kohya, write_peft
from sfumato.lora.lora import merge
from sfumato.models.latent import LatentModel

from ..tuning.conftest import answer, base, stirred
from .test_formats import SHAPES, far, pipeline, tuned

LINEAR = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"  # (64, 64)
ACROSS = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"  # (64, 32)
CONV = "down_blocks.1.resnets.0.conv1"  # (64, 32, 3, 3)
NORM = "down_blocks.1.resnets.0.norm1"  # (32,)
TEXT = "text_model.encoder.layers.0.layer_norm1"


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def change(tensors: dict[str, Tensor], folder: Path, module: str, weight: float = 1.0, name: str = "weight") -> Tensor:
    """What a file makes of one layer's weight, less what it was; nothing else may change."""
    model, file = base(), folder / "a.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, file)
    before = {key: value.clone() for key, value in model.net.state_dict().items()}
    merge(model.net, read(file, model), weight, str(file))
    after = model.net.state_dict()
    others = {key for key in before if not torch.equal(before[key], after[key])}
    assert len(others) == 1
    assert others.pop().endswith(f"{module}.{name}")
    return next(after[key] - before[key] for key in before if key.endswith(f"{module}.{name}"))


def kohya(module: str, **tensors: Tensor) -> dict[str, Tensor]:
    prefix = "lora_te_" if module.startswith("text_model") else "lora_unet_"
    key = prefix + module.replace(".", "_")
    return {f"{key}.{end.replace('__', '.')}": value for end, value in tensors.items()}


def near(found: Tensor, want: Tensor) -> None:
    assert want.norm() > 0.1
    assert torch.allclose(found, want, atol=2e-6 * float(want.abs().max()) + 1e-6)


def test_loha_by_hand(tmp_path: Path) -> None:
    """FedPara, eq. 1: element by element; alpha / rank is 6 / 4; at half the strength, half of it."""
    a1, a2, b1, b2 = draw(64, 4), draw(64, 4, seed=1), draw(4, 32), draw(4, 32, seed=2)
    file = kohya(ACROSS, hada_w1_a=a1, hada_w1_b=b1, hada_w2_a=a2, hada_w2_b=b2, alpha=torch.tensor(6.0))
    want = torch.stack([
        torch.stack([1.5 * (a1[o] * b1[:, i]).sum() * (a2[o] * b2[:, i]).sum() for i in range(32)]) for o in range(64)
    ])  # fmt: skip
    near(change(file, tmp_path, ACROSS), want)
    near(change(file, tmp_path, ACROSS, 0.5), want / 2)
    del file[next(key for key in file if key.endswith("alpha"))]
    near(change(file, tmp_path, ACROSS), want / 1.5)


def test_lokr_by_hand(tmp_path: Path) -> None:
    first, a, b = draw(4, 8), draw(16, 2), draw(2, 4)
    file = kohya(ACROSS, lokr_w1=first, lokr_w2_a=a, lokr_w2_b=b, alpha=torch.tensor(1.0))
    want = torch.cat([torch.cat([first[o, i] * (a @ b) / 2 for i in range(8)], 1) for o in range(4)])
    near(change(file, tmp_path, ACROSS), want)
    whole = kohya(ACROSS, lokr_w1=first, lokr_w2=a @ b, alpha=torch.tensor(1.0))  # no rank: alpha means nothing
    near(change(whole, tmp_path, ACROSS), 2 * want)
    conv = kohya(CONV, lokr_w1=draw(4, 8), lokr_w2=draw(16, 4, 3, 3))
    near(change(conv, tmp_path, CONV)[20, 9], draw(4, 8)[1, 2] * draw(16, 4, 3, 3)[4, 1])


LYCORIS = {
    "LoHa": lambda: peft.LoHaConfig(r=3, alpha=7, target_modules=[LINEAR]),
    "LoHa of a convolution": lambda: peft.LoHaConfig(r=3, alpha=7, target_modules=[CONV]),
    "LoHa, Tucker": lambda: peft.LoHaConfig(r=3, alpha=7, target_modules=[CONV], use_effective_conv2d=True),
    "LoKr": lambda: peft.LoKrConfig(r=2, alpha=5, target_modules=[LINEAR]),
    "LoKr, both factored": lambda: peft.LoKrConfig(
        r=2, alpha=5, target_modules=[LINEAR], decompose_both=True, decompose_factor=8
    ),
    "LoKr of a convolution": lambda: peft.LoKrConfig(r=2, alpha=5, target_modules=[CONV], decompose_factor=4),
    "LoKr, Tucker": lambda: peft.LoKrConfig(
        r=2, alpha=5, target_modules=[CONV], decompose_factor=4, use_effective_conv2d=True
    ),
}


@pytest.mark.parametrize("name", LYCORIS)
def test_changes_are_those_of_pefts_own_layers(name: str, tmp_path: Path) -> None:
    """PEFT's LoHa and LoKr were written from LyCORIS; their tensors have LyCORIS's names."""
    net: Any = base().net
    config = LYCORIS[name]()
    wrapped: Any = peft.get_peft_model(net.unet, config)
    for k, p in enumerate(p for p in wrapped.parameters() if p.requires_grad):
        p.data = draw(*p.shape, seed=k)
    module = config.target_modules.copy().pop()
    layer: Any = wrapped.base_model.model.get_submodule(module)
    state = {key.rsplit(".", 1)[1]: value for key, value in get_peft_model_state_dict(wrapped).items()}
    assert any("t2" in key for key in state) == name.endswith("Tucker")
    alpha = torch.tensor(float(config.alpha))
    near(change(kohya(module, alpha=alpha, **state), tmp_path, module), layer.get_delta_weight("default").detach())


def test_tuckers_lora_is_three_convolutions_in_a_row(tmp_path: Path) -> None:
    down, mid, up = draw(4, 32, 1, 1), draw(4, 4, 3, 3), draw(64, 4, 1, 1)
    file = kohya(
        CONV, lora_down__weight=down, lora_mid__weight=mid, lora_up__weight=up, alpha=torch.tensor(2.0)
    )  # fmt: skip
    x = draw(1, 32, 7, 7)
    in_a_row = F.conv2d(F.conv2d(F.conv2d(x, down), mid, padding=1), up) / 2
    near(F.conv2d(x, change(file, tmp_path, CONV), padding=1), in_a_row)


@pytest.mark.parametrize(
    ("module", "end", "what", "shape"),
    [
        (LINEAR, "diff", "weight", (64, 64)), (CONV, "diff", "weight", (64, 32, 3, 3)),
        (CONV, "diff_b", "bias", (64,)), (NORM, "w_norm", "weight", (32,)), (NORM, "b_norm", "bias", (32,)),
        (TEXT, "w_norm", "weight", (32,)),
    ],
)  # fmt: skip
def test_full_changes_are_added_as_they_are(
    module: str, end: str, what: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    """alpha has no meaning for them, as in LyCORIS, ComfyUI and A1111."""
    file = kohya(module, **{end: draw(*shape), "alpha": torch.tensor(3.0)})
    plain = module.removeprefix("text_model.")
    near(change(file, tmp_path, plain, 0.5, what), draw(*shape) / 2)


@pytest.mark.parametrize("module", [ACROSS, CONV])
@pytest.mark.parametrize("columns", [False, True])
def test_magnitudes_of_rows_and_of_columns(columns: bool, module: str, tmp_path: Path) -> None:
    layer: Any = base().net.get_submodule(f"unet.{module}")
    weight = layer.weight.detach()
    out, into, *kernel = weight.shape
    magnitude = 1 + draw(1, into, *[1] * len(kernel)).abs() if columns else 1 + draw(out, 1, *[1] * len(kernel)).abs()
    file = kohya(
        module, lora_down__weight=draw(2, into, *kernel), lora_up__weight=draw(out, 2, *[1] * len(kernel)),
        alpha=torch.tensor(1.0), dora_scale=magnitude,
    )  # fmt: skip
    after = weight + change(file, tmp_path, module)
    norms = after.transpose(0, 1).flatten(1).norm(dim=1) if columns else after.flatten(1).norm(dim=1)
    assert torch.allclose(norms, magnitude.flatten(), atol=1e-5)
    plain = {key: value for key, value in file.items() if not key.endswith("dora_scale")}
    whole = weight + change(plain, tmp_path, module)
    assert (
        torch.allclose(F.cosine_similarity(whole[:, 3].flatten(), after[:, 3].flatten(), 0), torch.ones(())) == columns
    )


NAMES = {
    "lora_A": ("lora_A.weight", "lora_B.weight"), "lora.down": ("lora.down.weight", "lora.up.weight"),
    "lora_down": ("lora_down.weight", "lora_up.weight"), "default": ("lora_A.default.weight", "lora_B.default.weight"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_an_alpha_beside_diffusers_keys_counts(name: str, tmp_path: Path) -> None:
    down, up = draw(16, 64), draw(64, 16)
    file = {f"unet.{LINEAR}.{end}": value for end, value in zip(NAMES[name], (down, up), strict=True)}
    near(change(file, tmp_path, LINEAR), up @ down)
    near(change(file | {f"unet.{LINEAR}.alpha": torch.tensor(1.0)}, tmp_path, LINEAR), up @ down / 16)


def test_a_folder_with_a_folder_for_each_network(tmp_path: Path) -> None:
    live, lora = tuned(SHAPES["text encoder"])
    folder = write_peft(lora, tmp_path / "peft", "base")
    (folder / "unet").mkdir()
    for file in (CONFIG, WEIGHTS):
        (folder / file).rename(folder / "unet" / file)
    model = base()
    merge(model.net, read(folder, model), 1.0, "a")
    assert far(answer(live), answer(model)) < 1e-5
    write_peft(lora, folder, "base")
    with pytest.raises(UserError, match=r"two LoRAs for one network, in .*peft and in .*unet: give one"):
        read(folder, model)


PATTERNS: dict[str, Any] = {"rank_pattern": {"to_q": 2, "attn2.to_k": 8}, "alpha_pattern": {"attn1.to_q": 1, "to_v": 9}}


def patterned() -> LatentModel:
    live = base()
    net: Any = live.net
    net.unet.add_adapter(LoraConfig(r=4, lora_alpha=6, target_modules=["to_q", "to_k", "to_v"], **PATTERNS))
    stirred(net)
    return live


def test_patterns_of_rank_and_alpha_as_diffusers_reads_them(tmp_path: Path) -> None:
    live = patterned()
    unet: Any = live.net.get_submodule("unet")
    StableDiffusionPipeline.save_lora_weights(
        tmp_path, get_peft_model_state_dict(unet), **_collate_lora_metadata({"unet": unet})
    )
    file, theirs, ours = tmp_path / "pytorch_lora_weights.safetensors", base(), base()
    pipeline(theirs).load_lora_weights(file)
    merge(ours.net, read(file, ours), 1.0, "a")
    assert far(answer(live), answer(theirs)) < 1e-5
    assert far(answer(live), answer(ours)) < 1e-5
    scales = {name: piece.scale for name, piece in read(file, ours).part("unet").items()}
    assert scales[LINEAR] == 1 / 2
    assert scales[LINEAR.replace("attn1", "attn2")] == 6 / 2
    assert scales[ACROSS] == 6 / 8
    assert scales[LINEAR.replace("to_q", "to_v")] == 9 / 4


@pytest.mark.parametrize("pattern", ["(a+)+b", "to_[qk]", ".*", "to_q$", "to_q|to_k", r"to\_q", ""])
def test_a_pattern_that_is_no_plain_name_is_refused_and_never_run(pattern: str, tmp_path: Path) -> None:
    _, lora = tuned(SHAPES["attention"])
    folder = write_peft(lora, tmp_path / "peft", "base")
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"alpha_pattern": {"to_q": 8, pattern: 1}}))
    with pytest.raises(UserError, match="only plain names of layers are read") as caught:
        read(folder, base())
    assert "\n" not in str(caught.value)


def test_the_whole_name_and_the_first_pattern(tmp_path: Path) -> None:
    _, lora = tuned(SHAPES["attention"])
    folder = write_peft(lora, tmp_path / "peft", "base")
    config = json.loads((folder / CONFIG).read_text())
    patterns = {f"^{LINEAR}": 2, "^to_q": 100, "o_k": 100, "to_q": 1, "attn1.to_q": 3}
    (folder / CONFIG).write_text(json.dumps(config | {"alpha_pattern": patterns}))
    scales = {name: piece.scale for name, piece in read(folder, base()).part("unet").items()}
    assert scales[LINEAR] == 2 / 4
    assert scales[LINEAR.replace("down_blocks.1", "mid_block")] == 1 / 4
    assert scales[ACROSS] == 8 / 4
    (folder / CONFIG).write_text(json.dumps(config | {"r": 5}))
    with pytest.raises(UserError, match=r"says rank 5 for .*, whose matrices have 4"):
        read(folder, base())


def good(folder: Path) -> Path:
    return write_kohya(tuned(SHAPES["attention"])[1], folder / "good.safetensors", {}, torch.float32)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -float("inf")])
def test_a_strength_that_is_not_finite_is_refused(weight: float, tmp_path: Path) -> None:
    file, model = good(tmp_path), base()
    before = answer(model)
    for use in (
        lambda: merge(model.net, read(file, model), weight, "a"), lambda: sfumato.load(model, lora=[(file, weight)]),
        lambda: sfumato.merge([(file, weight)], model, tmp_path / "merged"),
    ):  # fmt: skip
        with pytest.raises(UserError, match="give a finite number"):
            use()
    assert not (tmp_path / "merged").exists()
    assert torch.equal(answer(model), before)


def test_weights_that_would_be_infinite_are_refused(tmp_path: Path) -> None:
    file, model = good(tmp_path), base()
    before = answer(model)
    with pytest.raises(UserError, match=r"makes unet\..* infinite or undefined at a strength of 1e\+39"):
        merge(model.net, read(file, model), 1e39, str(file))
    with pytest.raises(UserError, match="beyond the range of fp16: write fp32, with --no-half"):
        sfumato.merge([(file, 1e8)], model, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    assert torch.equal(answer(model), before)


def test_all_loras_are_checked_before_one_is_laid_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, model, laid = good(tmp_path), base(), []
    second = tmp_path / "second.safetensors"
    save_file(kohya(LINEAR, diff=draw(3, 3)), second)
    monkeypatch.setattr("sfumato.lora.apply.merge", lambda *given: laid.append(given))
    with pytest.raises(UserError, match=r"second.safetensors is for another base: unet.down_blocks"):
        over(model, [(first, 1.0), (second, 1.0)])
    assert not laid


def test_an_embedding_beside_a_lora_is_named_and_the_lora_read(tmp_path: Path) -> None:
    file, model = good(tmp_path), base()
    from safetensors.torch import load_file

    beside = {"bundle_emb.zarnu.string_to_param.*": draw(2, 32), "bundle_emb.zarnu.name": draw(1)}
    save_file(load_file(file) | beside, tmp_path / "both.safetensors")
    with pytest.warns(PromptWarning, match=r"both.safetensors: its embeddings are not used: bundle_emb.zarnu$"):
        both, lines = over(model, [(tmp_path / "both.safetensors", 1.0)])
    assert any("bundle_emb.zarnu" in line for line in lines)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone, _ = over(model, [(file, 1.0)])
    assert torch.equal(answer(both), answer(alone))
    assert far(answer(both), answer(model)) > 0.01
    save_file(beside, tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="has no LoRA for a U-Net or a text encoder"):
        read(tmp_path / "none.safetensors", model)


Made = Callable[[], dict[str, Tensor]]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: kohya(LINEAR, hada_w1_a=draw(64, 2), hada_w1_b=draw(2, 64), hada_w2_a=draw(64, 2)), "no hada_w2_b"),
        (lambda: kohya(LINEAR, hada_w1_a=draw(64, 2), hada_w1_b=draw(2, 64), hada_w2_a=draw(64, 3),
                       hada_w2_b=draw(2, 64)), "make no LoRA"),
        (lambda: kohya(LINEAR, hada_w1_a=draw(64, 2), hada_w1_b=draw(2, 9), hada_w2_a=draw(64, 2),
                       hada_w2_b=draw(2, 9)), r"is \(64, 64\) here and \(64, 9\) there"),
        (lambda: kohya(CONV, hada_w1_a=draw(2, 64), hada_w1_b=draw(2, 32), hada_w2_a=draw(2, 64),
                       hada_w2_b=draw(2, 32), hada_t1=draw(2, 2, 3, 3)), "one of hada_t1 and hada_t2"),
        (lambda: kohya(LINEAR, lokr_w1=draw(4, 4)), "needs lokr_w2, or lokr_w2_a and lokr_w2_b"),
        (lambda: kohya(LINEAR, lokr_w1=draw(4, 4), lokr_w2=draw(4, 4)), r"here and \(16, 16\) there"),
        (lambda: kohya(LINEAR, diff=draw(64, 64), lora_down__weight=draw(2, 64), lora_up__weight=draw(64, 2)),
         "has LoRA and full at once"),
        (lambda: kohya(LINEAR, diff_b=draw(64)), "has no bias here"),
        (lambda: kohya(CONV, diff_b=draw(3)), r"has a bias of \(64,\) here"),
        (lambda: kohya(NORM, w_norm=draw(3)), r"is \(32,\) here and \(3,\) there"),
        (lambda: kohya(LINEAR, w_norm=torch.full((64, 64), torch.inf)), "not finite"),
        (lambda: kohya(CONV, diff_b=torch.full((64,), torch.nan)), "the bias of .* is not finite"),
        (lambda: kohya(LINEAR, oft_blocks=draw(4, 4)), "OFT, IA3 and GLoRA are not read"),
        (lambda: kohya(LINEAR, alpha=torch.tensor(1.0)), "has no down matrix"),
        (lambda: kohya(LINEAR, lora_down__weight=draw(2, 64), lora_up__weight=draw(64, 2), dora_scale=draw(1)),
         "neither one a row nor one a column"),
    ],
)  # fmt: skip
def test_what_makes_no_change_is_one_line(made: Made, reason: str, tmp_path: Path) -> None:
    save_file({key: value.contiguous() for key, value in made().items()}, tmp_path / "a.safetensors")
    model = base()
    with pytest.raises(UserError, match=reason) as caught:
        merge(model.net, read(tmp_path / "a.safetensors", model), 1.0, "a")
    assert "\n" not in str(caught.value)
