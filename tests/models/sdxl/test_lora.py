"""LoRAs of Stable Diffusion XL: ours do the same elsewhere, and those of others the same here."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfumato.errors import UserError
from sfumato.lora.adapter import Shape, attach, taken, without
from sfumato.lora.changes import Piece
from sfumato.lora.formats import CONFIG, WEIGHTS, read, write_diffusers, write_kohya, write_peft
from sfumato.lora.lora import Lora, merge, modules
from sfumato.lora.plain import plain
from sfumato.lora.verify import answer as predictions
from sfumato.lora.verify import verify
from sfumato.models.latent import LatentModel
from sfumato.models.originals import of_unet
from sfumato.models.sdxl import shapes
from sfumato.models.sdxl.networks import UNET
from sfumato.recipe.recipe import build
from sfumato.tuning import artifact

from ...tuning.conftest import answer, stirred
from ...tuning.conftest import base as sd
from .tiny import SMALL, folder, xl

SHAPES = {
    "attention": Shape(rank=4, alpha=8, feed_forward=False),
    "text encoders": Shape(rank=4, alpha=2, text=True),
    "rank-stabilised": Shape(rank=4, alpha=8, text=True, rank_stabilised=True),
    "DoRA": Shape(rank=4, alpha=8, text=True, dora=True),
    "PiSSA": Shape(rank=4, alpha=8, init="pissa"),
}
QUICK = ("text encoders", "DoRA")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SHAPES]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("xl") / "pipe")


@pytest.fixture(scope="module")
def fresh(place: Path) -> Callable[[], LatentModel]:
    whole = xl(place)
    return lambda: copy.deepcopy(whole)


Fresh = Callable[[], LatentModel]


def tuned(fresh: Fresh, shape: Shape) -> tuple[LatentModel, Lora]:
    model = fresh()
    attach(model.net, shape)
    stirred(model.net)  # type: ignore[arg-type]
    return model, taken(model.net)


def far(fresh: Fresh, a: Tensor, b: Tensor) -> float:
    """How much two answers differ, as a share of the first; the LoRA itself changes a hundredth of it or more."""
    assert (a - answer(fresh())).norm() > 0.01 * a.norm()
    return float((a - b).norm() / a.norm())


def in_diffusers(model: LatentModel, file: Path) -> Tensor:
    """What diffusers makes of a file, and again with the LoRA in the weights."""
    pipe = model.family.pipeline(model)
    pipe.load_lora_weights(file)
    found = answer(model)
    encoders = [part for part in ("text_encoder", "text_encoder_2") if hasattr(getattr(pipe, part), "peft_config")]
    pipe.fuse_lora(components=["unet", *encoders])
    pipe.unload_lora_weights()
    assert torch.allclose(answer(model), found, atol=1e-4)
    return found


def laid_over(fresh: Fresh, path: Path) -> Tensor:
    model = fresh()
    assert merge(model.net, read(path, model), 1.0, str(path)) > 4
    return answer(model)


@pytest.mark.parametrize("name", NAMES)
def test_kohyas_file_here_and_in_diffusers(name: str, fresh: Fresh, tmp_path: Path) -> None:
    live, lora = tuned(fresh, SHAPES[name])
    want = answer(live)
    with without(live.net):
        file = write_kohya(plain(lora, live.net, 0.0), tmp_path / "a.safetensors", {}, torch.float32)
    encoders = {"te1", "te2"} if SHAPES[name].text else set()
    assert {key.split("_")[1] for key in load_file(file)} == {"unet", *encoders}
    assert far(fresh, want, laid_over(fresh, file)) < 1e-5
    assert far(fresh, want, in_diffusers(fresh(), file)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_pefts_folder_here_and_in_peft(name: str, fresh: Fresh, tmp_path: Path) -> None:
    live, lora = tuned(fresh, SHAPES[name])
    want = answer(live)
    made = write_peft(lora, tmp_path / "peft", "base", SHAPES[name].rank_stabilised)
    assert far(fresh, want, laid_over(fresh, made)) < 1e-5
    other = fresh()
    net: Any = other.net
    for part in net.parts:
        if (made / part.folder / WEIGHTS).is_file():
            wrapped = PeftModel.from_pretrained(net.module(part), made / part.folder)
            setattr(net, part.name, wrapped.base_model.model)
    assert far(fresh, want, answer(other)) < 1e-5
    assert (made / "text_encoder_2" / CONFIG).is_file() == SHAPES[name].text


@pytest.mark.parametrize("name", NAMES)
def test_our_diffusers_file_here_and_in_diffusers(name: str, fresh: Fresh, tmp_path: Path) -> None:
    live, lora = tuned(fresh, SHAPES[name])
    want = answer(live)
    file = write_diffusers(lora, tmp_path / "a.safetensors", {}, torch.float32)
    assert far(fresh, want, laid_over(fresh, file)) < 1e-5
    if name != "DoRA":  # diffusers does not load text encoders' magnitudes, its own files' neither
        assert far(fresh, want, in_diffusers(fresh(), file)) < 1e-5


@pytest.mark.parametrize("text", [False, True])
def test_diffusers_own_file_is_read(text: bool, fresh: Fresh, tmp_path: Path) -> None:
    live, _ = tuned(fresh, Shape(rank=4, alpha=4, text=text))
    net: Any = live.net
    encoders = {}
    if text:
        encoders = {"text_encoder_lora_layers": get_peft_model_state_dict(net.text),
                    "text_encoder_2_lora_layers": get_peft_model_state_dict(net.text_2)}  # fmt: skip
    StableDiffusionXLPipeline.save_lora_weights(tmp_path, get_peft_model_state_dict(net.unet), **encoders)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    assert far(fresh, answer(live), laid_over(fresh, file)) < 1e-5
    assert far(fresh, answer(live), in_diffusers(fresh(), file)) < 1e-5


def in_original_names(lora: Lora, names: dict[str, str]) -> dict[str, Tensor]:
    """kohya's keys as its own trainer writes them: layers by the names of the original code, written here by hand."""
    found: dict[str, Tensor] = {}
    prefixes = {"unet": "lora_unet_", "text": "lora_te1_text_model_", "text_2": "lora_te2_text_model_"}
    for part, pieces in lora.parts.items():
        for name, piece in pieces.items():
            key = prefixes[part.name] + (names[name] if part.name == "unet" else name).replace(".", "_")
            found[f"{key}.lora_down.weight"], found[f"{key}.lora_up.weight"] = piece.down, piece.up
            found[f"{key}.alpha"] = torch.tensor(piece.scale * piece.rank)
    return {key: value.contiguous() for key, value in found.items()}


def test_a_file_in_the_original_names_does_what_the_same_in_diffusers_names_does(fresh: Fresh, tmp_path: Path) -> None:
    live, lora = tuned(fresh, Shape(rank=4, alpha=2, text=True))
    want = answer(live)
    keys = in_original_names(lora, of_unet(modules(live.net, UNET)))
    for known in (
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.alpha",
        "lora_unet_input_blocks_8_1_transformer_blocks_1_ff_net_0_proj.alpha",
        "lora_unet_middle_block_1_transformer_blocks_0_attn2_to_out_0.alpha",
        "lora_unet_output_blocks_5_1_transformer_blocks_0_attn2_to_k.alpha",
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.alpha",
        "lora_te2_text_model_encoder_layers_2_self_attn_out_proj.alpha",
    ):
        assert known in keys
    assert not any("down_blocks" in key or "up_blocks" in key for key in keys)
    save_file(keys, tmp_path / "a.safetensors")
    assert far(fresh, want, laid_over(fresh, tmp_path / "a.safetensors")) < 1e-5
    assert far(fresh, want, in_diffusers(fresh(), tmp_path / "a.safetensors")) < 1e-5


def test_every_layer_has_an_original_name(fresh: Fresh, tmp_path: Path) -> None:
    """Convolutions and embeddings too, as larger LoRAs of others change them."""
    model = fresh()
    generator = torch.Generator().manual_seed(0)
    pieces = {}
    for name, module in modules(model.net, UNET).items():
        out, into, *window = module.weight.shape  # type: ignore[misc]
        down, up = (
            0.1 * torch.randn(s, generator=generator) for s in ((2, into, *window), (out, 2, *[1] * len(window)))
        )
        pieces[name] = Piece(down, up, scale=0.5)
    keys = in_original_names(Lora({UNET: pieces}), of_unet(pieces))
    for known in ("input_blocks_3_0_op", "output_blocks_2_2_conv", "input_blocks_4_0_skip_connection",
                  "middle_block_2_out_layers_3", "time_embed_0", "label_emb_0_2", "out_2", "input_blocks_0_0",
                  "output_blocks_0_1_proj_in", "input_blocks_1_0_emb_layers_1"):  # fmt: skip
        assert f"lora_unet_{known}.alpha" in keys
    save_file(keys, tmp_path / "a.safetensors")
    again = read(tmp_path / "a.safetensors", model).part("unet")
    assert set(again) == set(pieces)
    for name, piece in pieces.items():
        assert torch.equal(again[name].down, piece.down), name
        assert again[name].scale == piece.scale


@pytest.mark.parametrize(
    "shape",
    [
        Shape(rank=4, alpha=8),
        pytest.param(Shape(rank=4, alpha=2, text=True), marks=pytest.mark.slow),
        pytest.param(Shape(rank=4, alpha=8, text=True, dora=True), marks=pytest.mark.slow),
    ],
)
def test_what_a_tuning_writes_proves_itself(shape: Shape, fresh: Fresh, tmp_path: Path) -> None:
    live, lora = tuned(fresh, shape)
    recipe = build({"name": "car", "task": "tune", "tune": {"base": "sdxl", "noun": "car", "trigger": "zarnu",
                    "rank": shape.rank, "alpha": shape.alpha}})  # fmt: skip
    file = artifact.write(lora, tmp_path, recipe, live, 400, {})
    found = verify(predictions(live, "a zarnu car"), fresh(), tmp_path, file, "a zarnu car")
    assert found.pop("effect") > 1e-3
    assert set(found) == {"kohya", "peft", "diffusers"}
    tensors = load_file(file)
    save_file({k: t / 2 if k.endswith(".alpha") and "te2" in k else t for k, t in tensors.items()}, file)
    if shape.text:  # the second encoder alone is wrong, and it is noticed
        with pytest.raises(UserError, match="files are not right: read by kohya"):
            verify(predictions(live, "a zarnu car"), fresh(), tmp_path, file, "a zarnu car")


def test_the_header_says_what_it_is_for(fresh: Fresh) -> None:
    recipe = build({"name": "car", "task": "tune", "tune": {"base": "sdxl", "noun": "car", "trigger": "zarnu"}})
    header = artifact.metadata(recipe, fresh(), 10)
    assert header["ss_base_model_version"] == "sdxl_base_v1-0"
    assert header["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert header["modelspec.prediction_type"] == "epsilon"
    assert header["modelspec.resolution"] == "16x16"


def test_a_model_is_written_with_the_lora_that_it_is_learning(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "SHAPES", SMALL)
    live, _ = tuned(fresh, Shape(rank=4, alpha=2, text=True))
    want = answer(live)
    assert far(fresh, want, answer(xl(live.family.write(live, tmp_path / "pipe", half=False)))) < 1e-5
    (tmp_path / "tokenizer").symlink_to(tmp_path / "pipe" / "tokenizer")
    assert far(fresh, want, answer(xl(live.family.write_file(live, tmp_path / "a.safetensors", half=False)))) < 1e-5


@pytest.mark.parametrize("text", [False, True])
def test_a_lora_of_another_family_is_refused_in_one_line(text: bool, fresh: Fresh, tmp_path: Path) -> None:
    for first, second, why in ((sd(), fresh(), "Stable Diffusion 1 or 2"), (fresh(), sd(), "Stable Diffusion XL")):
        attach(first.net, Shape(rank=2, text=text))
        stirred(first.net)  # type: ignore[arg-type]
        lora = taken(first.net)
        headed = write_kohya(lora, tmp_path / "a.safetensors", first.family.header(first))
        bare = write_kohya(lora, tmp_path / "b.safetensors", {})
        made = write_peft(lora, tmp_path / f"{why} peft", "base")
        for path, line in ((headed, why), (bare, f"{why}|for another base"), (made, f"{why}|for another base")):
            with pytest.raises(UserError, match=line) as caught:
                merge(second.net, read(path, second), 1.0, str(path))
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "shape", "refused"),
    [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", (4, 320), True),
        ("lora_unet_up_blocks_3_attentions_0_transformer_blocks_0_attn1_to_q", (4, 320), True),
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", (4, 768), True),
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", (4, 2048), False),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj", (4, 768), True),
        ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", (4, 768), False),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", (4, 640), False),
        ("lora_unet_output_blocks_3_1_transformer_blocks_0_attn1_to_q", (4, 640), False),
    ],
)
def test_files_of_other_families_are_known_by_their_layers(
    key: str, shape: tuple[int, int], refused: bool, fresh: Fresh
) -> None:
    tensors = {f"{key}.lora_down.weight": torch.zeros(shape)}
    assert (fresh().family.foreign(tensors, {}) is not None) == refused
