"""LoRA files: what is written loads in diffusers, in PEFT and by kohya's rules with the very same effect."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfumato.errors import UserError
from sfumato.lora.adapter import Shape, attach, enabled, taken, without
from sfumato.lora.formats import CONFIG, read, write_diffusers, write_kohya, write_peft
from sfumato.lora.lora import Lora, merge
from sfumato.lora.plain import plain
from sfumato.lora.rules import changed
from sfumato.models.latent import LatentModel
from sfumato.models.pipelines import scheduler
from sfumato.zoo import load

from ..tuning.conftest import answer, base, stirred

SHAPES = {
    "attention": Shape(rank=4, alpha=8, feed_forward=False),
    "feed-forward too": Shape(rank=3, alpha=2),
    "text encoder": Shape(rank=4, alpha=8, text=True),
    "rank-stabilised": Shape(rank=4, alpha=8, rank_stabilised=True),
    "DoRA": Shape(rank=4, alpha=8, dora=True),
    "PiSSA": Shape(rank=4, alpha=8, init="pissa"),
}


def tuned(shape: Shape) -> tuple[LatentModel, Lora]:
    model = base()
    attach(model.net, shape)  # type: ignore[arg-type]
    stirred(model.net)  # type: ignore[arg-type]
    return model, taken(model.net)  # type: ignore[arg-type]


def far(a: Tensor, b: Tensor) -> float:
    """How much two answers differ, as a share of the first; the LoRA itself changes a hundredth of it or more."""
    assert (a - answer(base())).norm() > 0.01 * a.norm()
    return float((a - b).norm() / a.norm())


def pipeline(model: LatentModel) -> StableDiffusionPipeline:
    net: Any = model.net
    return StableDiffusionPipeline(
        vae=model.autoencoder, text_encoder=net.text, tokenizer=model.tokenizers[0], unet=net.unet,
        scheduler=DDIMScheduler(**scheduler(model)), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def plainly(live: LatentModel, lora: Lora) -> Lora:
    """As kohya's keys hold it: a DoRA as a LoRA, here without error."""
    with without(live.net):
        return plain(lora, live.net, 0.0)


@pytest.mark.parametrize("name", SHAPES)
def test_kohyas_file_by_independent_rules_and_by_ours(name: str, tmp_path: Path) -> None:
    live, lora = tuned(SHAPES[name])
    want = answer(live)
    for dtype, bar in ((torch.float32, 1e-5), (torch.float16, 1e-3)):
        path = write_kohya(plainly(live, lora), tmp_path / "a.safetensors", {"ss_network_dim": "4"}, dtype)
        independent, ours = base(), base()
        for layer, weight in changed(independent.net, load_file(path)):
            layer.weight = torch.nn.Parameter(weight)
        assert far(want, answer(independent)) < bar
        assert merge(ours.net, read(path, ours), 1.0, "a") > 4  # type: ignore[arg-type]
        assert far(want, answer(ours)) < bar


@pytest.mark.parametrize("name", SHAPES)
def test_kohyas_file_in_diffusers_and_fused(name: str, tmp_path: Path) -> None:
    live, lora = tuned(SHAPES[name])
    want = answer(live)
    path = write_kohya(plainly(live, lora), tmp_path / "a.safetensors", {}, torch.float32)
    other = base()
    pipe = pipeline(other)
    pipe.load_lora_weights(path)
    assert far(want, answer(other)) < 1e-5
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    assert far(want, answer(other)) < 1e-5


@pytest.mark.parametrize("name", SHAPES)
def test_our_diffusers_file_in_diffusers_and_by_ours(name: str, tmp_path: Path) -> None:
    live, lora = tuned(SHAPES[name])
    want = answer(live)
    path = write_diffusers(lora, tmp_path / "a.safetensors", {}, torch.float32)
    other, ours = base(), base()
    pipeline(other).load_lora_weights(path)
    assert far(want, answer(other)) < 1e-5
    merge(ours.net, read(path, ours), 1.0, "a")  # type: ignore[arg-type]
    assert far(want, answer(ours)) < 1e-5


@pytest.mark.parametrize("name", SHAPES)
def test_pefts_folder_in_peft_and_by_ours(name: str, tmp_path: Path) -> None:
    live, lora = tuned(SHAPES[name])
    want = answer(live)
    folder = write_peft(lora, tmp_path / "peft", "base", SHAPES[name].rank_stabilised)
    other, ours = base(), base()
    net: Any = other.net
    net.unet = PeftModel.from_pretrained(net.unet, folder).base_model.model
    if lora.part("text"):
        net.text = PeftModel.from_pretrained(net.text, folder / "text_encoder").base_model.model
    assert far(want, answer(other)) < 1e-5
    merge(ours.net, read(folder, ours), 1.0, "a")  # type: ignore[arg-type]
    assert far(want, answer(ours)) < 1e-5


@pytest.mark.parametrize("name", ["attention", "text encoder"])
def test_diffusers_own_file_is_read(name: str, tmp_path: Path) -> None:
    live, _ = tuned(Shape(rank=4, alpha=4, feed_forward=False, text=SHAPES[name].text))
    want = answer(live)
    from peft import get_peft_model_state_dict

    net: Any = live.net
    text = get_peft_model_state_dict(net.text) if SHAPES[name].text else None
    StableDiffusionPipeline.save_lora_weights(tmp_path, get_peft_model_state_dict(net.unet), text)
    ours = base()
    merge(ours.net, read(tmp_path / "pytorch_lora_weights.safetensors", ours), 1.0, "a")  # type: ignore[arg-type]
    assert far(want, answer(ours)) < 1e-5


@pytest.mark.parametrize("name", SHAPES)
def test_a_model_is_written_with_the_lora_that_it_is_learning(name: str, tmp_path: Path) -> None:
    live, _ = tuned(SHAPES[name])
    want = answer(live)
    made = live.family.write(live, tmp_path / "pipe", half=False)
    assert torch.equal(answer(live), want)  # and stays as it was
    assert far(want, answer(load(made, device="cpu", precision="fp32"))) < 1e-5  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SHAPES)
def test_switching_off_gives_the_base_and_on_the_same_again(name: str) -> None:
    live, _ = tuned(SHAPES[name])
    want = answer(live)
    enabled(live.net, False)  # type: ignore[arg-type]
    assert torch.equal(answer(live), answer(base()))
    enabled(live.net, True)  # type: ignore[arg-type]
    assert torch.equal(answer(live), want)


def test_kohyas_keys_cannot_hold_magnitudes(tmp_path: Path) -> None:
    """ComfyUI, A1111 and sd-scripts read them in different ways."""
    _, lora = tuned(SHAPES["DoRA"])
    with pytest.raises(UserError, match="cannot hold DoRA"):
        write_kohya(lora, tmp_path / "a.safetensors", {})
    assert not (tmp_path / "a.safetensors").exists()


def test_weights_add(tmp_path: Path) -> None:
    _, lora = tuned(SHAPES["attention"])
    half, whole = base(), base()
    for _ in range(2):
        merge(half.net, lora, 0.5, "a")  # type: ignore[arg-type]
    merge(whole.net, lora, 1.0, "a")  # type: ignore[arg-type]
    assert far(answer(whole), answer(half)) < 1e-5


def test_a_foreign_file_without_alpha_means_rank(tmp_path: Path) -> None:
    _, lora = tuned(Shape(rank=4, alpha=4, feed_forward=False))
    path = write_kohya(lora, tmp_path / "a.safetensors", {}, torch.float32)
    bare = {key: value for key, value in load_file(path).items() if not key.endswith("alpha")}
    bare = {key.replace("lora_te_", "lora_te1_"): value for key, value in bare.items()}
    save_file(bare, tmp_path / "b.safetensors")
    again = read(tmp_path / "b.safetensors", base())  # type: ignore[arg-type]
    assert {piece.scale for piece in again.part("unet").values()} == {1.0}


def hostile(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: {k.replace("lora_unet_", "lora_te2_"): v for k, v in t.items()}, "Stable Diffusion XL"),
        (lambda t: {k.replace("attn1", "attn9"): v for k, v in t.items()}, "for another base"),
        (lambda t: {k: torch.full_like(v, torch.nan) for k, v in t.items()}, "not finite"),
        (lambda t: {k: v for k, v in t.items() if "lora_up" not in k}, "no up matrix"),
        (lambda t: {k: v[:, :5] if "lora_down" in k else v for k, v in t.items()}, "for another base"),
        (lambda t: {k: v[:, :2] if "lora_up" in k else v for k, v in t.items()}, "has matrices of"),
        (lambda t: {k.replace("lora_down", "hada_w1_a"): v for k, v in t.items()}, "LoHa"),
        (lambda t: {"weight": torch.zeros(2)}, "no part of a LoRA"),
        (lambda t: {k: torch.zeros(2) if k.endswith("alpha") else v for k, v in t.items()}, "make no LoRA"),
        (lambda t: {k: torch.zeros(0, 64) if "lora_down" in k else v for k, v in t.items()}, "damaged"),
        (lambda t: {k: torch.zeros(()) if "lora_down" in k else v for k, v in t.items()}, "damaged"),
        (lambda t: {k.replace("lora_unet_", "lora_unet_input_blocks_"): v for k, v in t.items()}, "Diffusion XL"),
        (
            lambda t: t | {
                k.replace("lora_up.weight", "dora_scale"): torch.ones(1, 3) for k in t if "lora_up" in k
            },
            "neither one a row nor one a column",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_and_changes_nothing(tmp_path: Path, change: Any, reason: str) -> None:
    _, lora = tuned(SHAPES["attention"])
    path = write_kohya(lora, tmp_path / "a.safetensors", {}, torch.float32)
    save_file({k: v.contiguous() for k, v in change(load_file(path)).items()}, path)
    model = base()
    before = answer(model)
    with pytest.raises(UserError, match=reason) as caught:
        merge(model.net, read(path, model), 1.0, str(path))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert torch.equal(answer(model), before)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gone.safetensors", None, "not there"),
        ("a.safetensors", b"", "not a safetensors file"),
        ("a.safetensors", struct.pack("<Q", 2**40) + b"{}", "not a safetensors file"),
        ("a.bin", b"x", "can run code"),
    ],
)
def test_hostile_files(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=reason):
        read(tmp_path / name, base())  # type: ignore[arg-type]


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a LoRA folder"):
        read(tmp_path, base())  # type: ignore[arg-type]
    _, lora = tuned(SHAPES["attention"])
    folder = write_peft(lora, tmp_path / "peft", "base")
    (folder / "adapter_config.json").write_text(json.dumps({"r": "many"}))
    with pytest.raises(UserError, match="does not describe a LoRA"):
        read(folder, base())  # type: ignore[arg-type]


def test_old_diffusers_names_and_headers_that_lie(tmp_path: Path) -> None:
    _, lora = tuned(Shape(rank=4, alpha=4, feed_forward=False))
    old = {}
    for name, piece in lora.part("unet").items():
        path, _, layer = name.removesuffix(".0").rpartition(".")
        old[f"unet.{path}.processor.{layer}_lora.down.weight"] = piece.down
        old[f"unet.{path}.processor.{layer}_lora.up.weight"] = piece.up
    save_file(old, tmp_path / "old.safetensors")
    again = read(tmp_path / "old.safetensors", base())  # type: ignore[arg-type]
    assert set(again.part("unet")) == set(lora.part("unet"))
    for lie in ("no json", "null", json.dumps({"unet.lora_alpha": "much"})):
        save_file(old, tmp_path / "lie.safetensors", {"lora_adapter_metadata": lie})
        with pytest.raises(UserError, match="make no LoRA"):
            read(tmp_path / "lie.safetensors", base())  # type: ignore[arg-type]


def test_peft_patterns_and_configurations_that_make_no_sense(tmp_path: Path) -> None:
    _, lora = tuned(Shape(rank=4, alpha=4, feed_forward=False))
    folder = write_peft(lora, tmp_path / "peft", "base")
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"alpha_pattern": {"to_q": 8}}))
    scales = {name.rpartition(".")[2]: piece.scale for name, piece in read(folder, base()).part("unet").items()}  # type: ignore[arg-type]
    assert scales["to_q"] == 2
    assert scales["to_k"] == 1
    for change in ({"r": 0}, {"r": -4, "use_rslora": True}, {"r": None}, {"lora_alpha": "x"}, {"alpha_pattern": [1]}):
        (folder / CONFIG).write_text(json.dumps(config | change))
        with pytest.raises(UserError, match=r"does not describe a LoRA|says rank (0|-4) for"):
            read(folder, base())  # type: ignore[arg-type]
