"""Stable Diffusion XL: from the same noise the pictures are diffusers' own, from a folder and from one file."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders import single_file_utils as keys
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sfumato import Sampling
from sfumato.errors import UserError
from sfumato.models import bases, originals
from sfumato.models.latent import LatentModel
from sfumato.models.reading import read_file
from sfumato.models.sdxl import shapes
from sfumato.models.sdxl.shapes import END
from sfumato.zoo import load

from .tiny import SMALL, file, folder, pipeline, words, xl

PUBLISHED = shapes.SHAPES
PROMPT, NEGATIVE = "a red car on a road", "a blue house"
BAR = 0.5 / 255 + 1e-4  # half a grey level, as ours are rounded, and 1e-4 of the range


def test_the_shapes_are_those_of_the_published_base() -> None:
    """By their numbers of parameters, which docs/text-to-image.md multiplies by bytes."""
    shape, table = PUBLISHED, {**END, "vocab_size": 49408, "max_position_embeddings": 77}
    with torch.device("meta"):
        nets = (
            UNet2DConditionModel(**shape.unet), CLIPTextModel(CLIPTextConfig(**shape.text, **table)),
            CLIPTextModelWithProjection(CLIPTextConfig(**shape.text_2, **table)), AutoencoderKL(**shape.vae),
        )  # fmt: skip
    counts = [sum(p.numel() for p in net.parameters()) for net in nets]
    assert counts == [2_567_463_684, 123_060_480, 694_659_840, 83_653_863]
    page = (Path(__file__).parents[3] / "docs" / "text-to-image.md").read_text("utf-8")
    for count in (*counts, sum(counts)):
        assert f"{count:,} | {4e-9 * count:.2f} GB | {2e-9 * count:.2f} GB" in page


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("xl") / "pipe")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "SHAPES", SMALL)


def apart(
    pipe: StableDiffusionXLPipeline, model: LatentModel, negative: str | None = None, prompt: str = PROMPT
) -> float:
    """How far diffusers' pictures are from ours, from the same noise by the same sampler, as a share of the range."""
    pipe.set_progress_bar_config(disable=True)
    steps, guidance, (_, height, width) = 4, 3.0, model.shape
    noise = torch.stack([torch.randn(model.space, generator=torch.Generator().manual_seed(k)) for k in range(2)])
    first = float(model.schedule.path(steps).sigma[0])  # diffusers takes it to be 1
    with torch.inference_mode():
        theirs = pipe(
            prompt, negative_prompt=negative, latents=first * noise, num_images_per_prompt=2,
            num_inference_steps=steps, guidance_scale=guidance, height=height, width=width, output_type="np",
        ).images  # fmt: skip
    assert (theirs[0] - theirs[1]).std() > 0.05  # or any picture would do
    ours = model.sample(
        2, texts=[prompt], sampling=Sampling(negative=negative, sampler="ddim", steps=steps, guidance=guidance)
    )
    return float(np.abs(theirs - ours.permute(0, 2, 3, 1).numpy() / 255).max())


@pytest.mark.parametrize(
    ("prediction", "zeros", "negative"),
    [*itertools.product(("epsilon",), (True, False), (None, "", NEGATIVE)), ("v_prediction", True, None)],
)
def test_a_folder_draws_as_diffusers_does(prediction: str, zeros: bool, negative: str | None, tmp_path: Path) -> None:
    made = folder(tmp_path / "pipe", prediction=prediction, zeros=zeros)
    model = xl(made)
    assert apart(StableDiffusionXLPipeline.from_pretrained(made), model, negative) < BAR
    null = model.null.tensors
    assert (float(null["states"].abs().max()) == 0) == (float(null["pooled"].abs().max()) == 0) == zeros


def test_each_size_has_its_ids(place: Path) -> None:
    model = xl(place).sized(16, 24)
    assert model.condition([PROMPT], 1).tensors["ids"].tolist() == [[16, 24, 0, 0, 16, 24]]
    assert apart(StableDiffusionXLPipeline.from_pretrained(place), model) < BAR
    taken = model.tokens([PROMPT], [(300, 300)]).tensors["ids"]
    assert taken.tolist() == [[300, 300, 0, 0, 16, 24]]
    with pytest.raises(UserError, match="multiples of 8"):
        model.sized(20, 16)


def test_a_prompt_reaches_the_picture_through_every_part(place: Path) -> None:
    """States of both encoders, the pooled state, and the sizes: without one of them the answer is another."""
    model = xl(place)
    x, c = torch.randn(1, *model.space, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1])
    given = dict(model.condition([PROMPT], 1).tensors)
    wide = given["states"].shape[-1] - SMALL.text_2["hidden_size"]
    with torch.inference_mode():
        whole = model.net(x, c, **given)
        first, second = (given["states"].clone() for _ in range(2))
        first[..., :wide], second[..., wide:] = 0, 0
        for change in (
            {"states": first},
            {"states": second},
            {"pooled": 0 * given["pooled"]},
            {"ids": given["ids"] * 3},
        ):
            assert float((model.net(x, c, **{**given, **change}) - whole).abs().max()) > 1e-4, change


def single(path: Path, half: bool = False, **options: Any) -> Path:
    """A single file of the tiny pipeline in its original keys."""
    return file(path, folder(path / "pipe", **options), half)


@pytest.mark.parametrize("options", [{}, {"prediction": "v_prediction", "zeros": False}])
def test_one_file_draws_the_same(options: dict[str, Any], tmp_path: Path) -> None:
    path = single(tmp_path, **options)
    model = xl(path)
    assert apart(StableDiffusionXLPipeline.from_pretrained(tmp_path / "pipe"), model) < BAR
    assert model.family.name == "sdxl"
    tokens = model.tokens([PROMPT]).tensors
    assert tokens["second"][0, -1] == 0 != tokens["first"][0, -1]  # the second encoder's are padded with "!"
    with safe_open(path, "pt") as opened:
        assert opened.metadata()["modelspec.architecture"] == "stable-diffusion-xl-v1-base"


def test_the_original_keys_are_those_that_diffusers_reads(tmp_path: Path) -> None:
    """Every weight, by its own converters, which know nothing of ours."""
    tensors, pipe = load_file(single(tmp_path)), pipeline()
    assert all(key.startswith((originals.UNET, originals.VAE, shapes.TEXT, shapes.TEXT_2)) for key in tensors)
    fused = tensors[f"{shapes.TEXT_2}transformer.resblocks.0.attn.in_proj_weight"]
    assert fused.shape == (3 * SMALL.text_2["hidden_size"], SMALL.text_2["hidden_size"])
    text_2 = keys.convert_open_clip_checkpoint(pipe.text_encoder_2, dict(tensors), prefix=shapes.TEXT_2)
    text = keys.convert_ldm_clip_checkpoint({k: t for k, t in tensors.items() if k.startswith(shapes.TEXT)})
    for theirs, net in (
        (keys.convert_ldm_unet_checkpoint(dict(tensors), pipe.unet.config), pipe.unet),
        (keys.convert_ldm_vae_checkpoint(dict(tensors), pipe.vae.config), pipe.vae),
        ({key.removeprefix("text_model."): t for key, t in text_2.items()}, pipe.text_encoder_2),
        ({key.removeprefix("text_model."): t for key, t in text.items()}, pipe.text_encoder),
    ):
        own = {key.removeprefix("text_model."): t for key, t in net.state_dict().items()}
        assert set(theirs) == set(own)
        for key, tensor in own.items():
            assert torch.equal(theirs[key], tensor), key


def test_what_a_single_file_lacks_is_said(tmp_path: Path) -> None:
    tensors = load_file(single(tmp_path))
    for gone, part in (
        (f"{originals.UNET}out.2.bias", "U-Net"), (f"{originals.VAE}quant_conv.bias", "autoencoder"),
        (f"{shapes.TEXT}text_model.final_layer_norm.bias", "first text encoder"),
        (f"{shapes.TEXT_2}text_projection", "second text encoder"),
    ):  # fmt: skip
        save_file({key: t for key, t in tensors.items() if key != gone}, tmp_path / "x.safetensors")
        with pytest.raises(UserError, match=f"the {part} is not whole") as caught:
            load(tmp_path / "x.safetensors")
        assert "\n" not in str(caught.value)
    save_file({"conditioner.embedders.0.model.ln_final.bias": torch.zeros(2)}, tmp_path / "r.safetensors")
    with pytest.raises(UserError, match="is the refiner of Stable Diffusion XL"):
        read_file(tmp_path / "r.safetensors", "r", "cpu", "fp32")


def test_a_shape_that_one_file_cannot_tell_is_refused(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = xl(place)
    monkeypatch.setattr(
        shapes, "SHAPES", shapes.Shapes({**SMALL.unet, "layers_per_block": 1}, SMALL.vae, SMALL.text, SMALL.text_2)
    )
    with pytest.raises(UserError, match="use --to diffusers"):
        model.family.write_file(model, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_half_of_the_range_is_enough(place: Path, tmp_path: Path) -> None:
    """A folder and a file in fp16 draw nearly the same, and weigh half."""
    model = xl(place)
    want = model.sample(2, texts=[PROMPT], sampling=Sampling(steps=4)).float()
    low = model.family.write(model, tmp_path / "half")
    whole = model.family.write(model, tmp_path / "whole", half=False)
    assert next(iter(load_file(low / "unet" / "diffusion_pytorch_model.safetensors").values())).dtype is torch.float16
    assert torch.equal(xl(whole).sample(2, texts=[PROMPT], sampling=Sampling(steps=4)).float(), want)
    assert (xl(low).sample(2, texts=[PROMPT], sampling=Sampling(steps=4)).float() - want).abs().max() <= 4
    assert (
        xl(single(tmp_path / "one", half=True)).sample(2, texts=[PROMPT], sampling=Sampling(steps=4)).float() - want
    ).abs().max() <= 4


def test_an_autoencoder_that_leaves_the_range_of_fp16_is_kept_in_fp32(tmp_path: Path) -> None:
    """A decoder as XL's, whose activations are beyond 65,504: in fp16 nothing of the picture is left."""
    pipe = pipeline()
    with torch.no_grad():
        last = pipe.vae.decoder.up_blocks[-1].resnets[-1].conv2
        last.weight *= 1e6  # what follows normalises it
    pipe.save_pretrained(tmp_path / "pipe")
    for each in ("tokenizer", "tokenizer_2"):
        words().backend_tokenizer.model.save(str(tmp_path / "pipe" / each))
    whole, low = xl(tmp_path / "pipe"), xl(tmp_path / "pipe", "fp16")
    assert low.net.dtype is torch.float16
    assert low.autoencoder.dtype is torch.float32
    latents = torch.randn(1, *whole.space, generator=torch.Generator().manual_seed(0))
    want = whole.leave(latents).float()
    assert (low.leave(latents).float() - want).abs().max() <= 1
    low.autoencoder.to(torch.float16)
    assert not low.family.pictures(low.autoencoder, latents).isfinite().all()


def test_an_autoencoder_that_says_that_it_can_is_in_fp16(tmp_path: Path) -> None:
    pipe = pipeline()
    pipe.vae.register_to_config(force_upcast=False)
    pipe.save_pretrained(tmp_path / "pipe")
    for each in ("tokenizer", "tokenizer_2"):
        words().backend_tokenizer.model.save(str(tmp_path / "pipe" / each))
    assert xl(tmp_path / "pipe", "fp16").autoencoder.dtype is torch.float16
    assert xl(tmp_path / "pipe", "bf16").autoencoder.dtype is torch.bfloat16


def test_it_goes_by_a_short_name(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    (tmp_path / "stable-diffusion-xl-base-1.0").symlink_to(place)
    for name in ("sdxl", "stabilityai/stable-diffusion-xl-base-1.0"):
        assert load(name, device="cpu", precision="fp32").family.name == "sdxl"  # type: ignore[attr-defined]
    (tmp_path / "stable-diffusion-xl-base-1.0").unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"text_encoder_2/, tokenizer/, tokenizer_2/.*stable-diffusion-xl-base-1\.0"):
        bases.located("sdxl")


def test_the_second_encoder_is_missed(place: Path, tmp_path: Path) -> None:
    made = folder(tmp_path / "pipe")
    (made / "text_encoder_2").rename(tmp_path / "away")
    with pytest.raises(UserError, match="has no text_encoder_2/"):
        load(made)
