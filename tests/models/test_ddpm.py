"""Folders of diffusers' pixel models: drawn as diffusers draws them, from the same noise."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image
from torch import Tensor

import sfumato
from sfumato import Sampling
from sfumato.denoising.denoise import Cleaning
from sfumato.diffusion.level import Level
from sfumato.errors import UserError
from sfumato.models.model import Model, picture_generators
from sfumato.models.named import sampler_of

from ..tiny import write_pictures

SIDE, STEPS, N = 16, 5, 3


def unet(classes: int | None = None, **changes: Any) -> UNet2DModel:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "sample_size": SIDE, "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8,
        "attention_head_dim": 8, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"), "num_class_embeds": classes,
    }  # fmt: skip
    net = UNet2DModel(**shape | changes)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return net.eval()


def load(folder: Path) -> Model:
    return sfumato.load(folder, device="cpu", precision="fp32")


def pipeline(folder: Path, kind: str = "ddim", **scheduler: Any) -> Any:
    settings = {"timestep_spacing": "trailing", **scheduler}
    made = (
        DDIMPipeline(unet(), DDIMScheduler(**settings))
        if kind == "ddim"
        else DDPMPipeline(unet(), DDPMScheduler(**settings))
    )
    made.save_pretrained(folder, safe_serialization=True)
    made.set_progress_bar_config(disable=True)
    return made


def ours(model: Model, sampler: str, steps: int, n: int = N) -> Tensor:
    """As `Model.sample`, before pictures are rounded to bytes: (n, C, H, W) in [0, 1]."""
    s = model.settings(Sampling(sampler=sampler, steps=steps))
    levels = model.schedule.path(steps)
    generators = picture_generators(0, n)

    def fresh() -> Tensor:
        return torch.stack([torch.randn(model.space, generator=g) for g in generators])

    with torch.inference_mode():
        # diffusers starts from noise of variance 1, whatever is left of the picture at the last timestep
        x = sampler_of(s)(model._prepared(s, None, None), fresh(), levels, noise=fresh)
    return (x / 2 + 0.5).clamp(0, 1)


SCHEDULERS: list[dict[str, Any]] = [
    {},
    {"clip_sample": False},
    {"prediction_type": "v_prediction"},
    {"prediction_type": "sample", "beta_schedule": "squaredcos_cap_v2"},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"num_train_timesteps": 100, "beta_start": 0.001, "beta_end": 0.2},
    {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
]


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=str)
@pytest.mark.parametrize("kind", ["ddim", "ddpm"])
def test_pictures_are_those_of_diffusers(tmp_path: Path, kind: str, scheduler: dict[str, Any]) -> None:
    theirs = pipeline(tmp_path, kind, **scheduler)
    model = load(tmp_path)
    same = {"use_clipped_model_output": True} if kind == "ddim" else {}  # as ours: the noise that fits the kept picture
    generators = picture_generators(0, N)
    want = theirs(N, generator=generators, num_inference_steps=STEPS, output_type="np", **same).images
    got = ours(model, kind, STEPS).permute(0, 2, 3, 1).numpy()
    assert np.abs(got - want).max() < 1e-4
    assert np.std(want) > 0.05


def test_sample_is_that_in_bytes(tmp_path: Path) -> None:
    theirs = pipeline(tmp_path)
    model = load(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = model.sample(N, sampling=Sampling(sampler="ddim", steps=STEPS))
    want = theirs(
        N,
        generator=picture_generators(0, N),
        num_inference_steps=STEPS,
        output_type="np",
        use_clipped_model_output=True,
    ).images
    far = drawn.permute(0, 2, 3, 1).float() - torch.from_numpy(255 * want)
    assert far.abs().max() < 4  # the last timestep keeps a little of the picture, which ours takes into account
    assert (model.defaults.steps, model.defaults.clip, model.recipe) == (20, True, None)


def test_the_denoiser_is_the_network(tmp_path: Path) -> None:
    pipeline(tmp_path, "ddpm")
    model, net = load(tmp_path), unet()
    scheduler = DDPMScheduler()
    x = torch.randn(2, 3, SIDE, SIDE)
    for t in (0, 7, 500, 999):
        bar = scheduler.alphas_cumprod[t].double()
        with torch.no_grad():
            epsilon = net(x, t).sample
        want = (x - (1 - bar).sqrt() * epsilon) / bar.sqrt()
        assert torch.allclose(
            model.denoiser(x, Level(bar.sqrt(), (1 - bar).sqrt())), want.float(), atol=1e-4, rtol=1e-4
        )


def test_a_network_alone_is_a_model_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipeline(tmp_path / "whole", "ddpm")
    unet().save_pretrained(tmp_path / "alone")
    with caplog.at_level(logging.WARNING):
        alone = load(tmp_path / "alone")
    assert "scheduler_config.json: taken as DDPM's" in caplog.text
    DDPMScheduler(prediction_type="sample").save_pretrained(tmp_path / "alone")
    assert load(tmp_path / "alone").prediction == "x0"
    whole = load(tmp_path / "whole")
    assert torch.equal(alone.sample(2, sampling=Sampling(steps=2)), whole.sample(2, sampling=Sampling(steps=2)))
    inner = load(tmp_path / "whole" / "unet")  # the scheduler lies beside it
    assert torch.equal(inner.sample(2, sampling=Sampling(steps=2)), whole.sample(2, sampling=Sampling(steps=2)))


def test_all_parts_in_one_folder(tmp_path: Path) -> None:
    """As the first models of the Hub lie there."""
    unet().save_pretrained(tmp_path)
    DDPMScheduler(prediction_type="v_prediction").save_pretrained(tmp_path)
    parts = {"scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]}
    index = {"_class_name": "DDPMPipeline", "_diffusers_version": diffusers.__version__, **parts}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert load(tmp_path).prediction == "v"


def test_learned_variances_are_left_out(tmp_path: Path) -> None:
    unet(out_channels=6).save_pretrained(tmp_path)
    assert load(tmp_path).sample(1, sampling=Sampling(steps=2)).shape == (1, 3, SIDE, SIDE)


def test_labels(tmp_path: Path) -> None:
    unet(classes=4).save_pretrained(tmp_path)
    DDPMScheduler().save_pretrained(tmp_path)
    model, net = load(tmp_path), unet(classes=4)
    x, level = torch.randn(2, 3, SIDE, SIDE), model.schedule.path(1)[0]
    with torch.no_grad():
        epsilon = net(x, 999, class_labels=torch.tensor([3, 0])).sample
    want = (x - level.sigma.float() * epsilon) / level.alpha.float()
    assert torch.allclose(model.denoiser(x, level, model.condition(["3", "0"], 2)), want, atol=1e-3, rtol=1e-4)
    drawn = model.sample(2, texts=["1", "2"], sampling=Sampling(steps=2))
    assert not torch.equal(drawn[0], model.sample(1, texts=["2"], sampling=Sampling(steps=2))[0])
    for broken, guidance, reason in (
        ({}, 1.0, "only with a label, 0 to 3: give one with --label"),
        ({"texts": ["5"]}, 1.0, "unknown label '5'"),
        ({"texts": ["1"]}, 2.0, "leave guidance out"),
    ):
        with pytest.raises(UserError, match=reason):
            model.sample(1, **broken, sampling=Sampling(steps=2, guidance=guidance))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="needs a label"):
        model.cleaner()
    assert model.sample(1, texts=["1"], sampling=Sampling(negative="2", guidance=2.0, steps=2)).shape == (
        1,
        3,
        SIDE,
        SIDE,
    )


def test_it_cleans_white_noise_through_its_level(tmp_path: Path) -> None:
    pipeline(tmp_path, "ddpm", clip_sample=False)
    model, net = load(tmp_path), unet()
    t = 200
    bar = DDPMScheduler().alphas_cumprod[t].double()
    sigma = float(((1 - bar) / bar).sqrt())  # on a picture of scale 1
    y = torch.rand(1, 3, SIDE, SIDE)
    done = model.denoise(y, sigma / 2, Cleaning(clipped=False))
    noisy = bar.sqrt().float() * (2 * y - 1)
    with torch.no_grad():
        want = (noisy - (1 - bar).sqrt().float() * net(noisy, t).sample) / bar.sqrt().float()
    assert (2 * done - 1 - want.clamp(-1, 1)).abs().max() < 1e-4


def test_it_is_judged_and_named_by_its_data(tmp_path: Path) -> None:
    pipeline(tmp_path / "model")
    with pytest.raises(UserError, match="name pictures with --data"):
        sfumato.judge(tmp_path / "model", n=4, sampling=Sampling(steps=1))
    found = sfumato.judge(
        tmp_path / "model", n=4, data=str(write_pictures(tmp_path / "pictures")), sampling=Sampling(steps=1)
    )
    assert found.verdict.n == 4
    larger = write_pictures(tmp_path / "larger")
    for path in larger.rglob("*.png"):
        Image.open(path).resize((24, 40)).save(path)
    assert sfumato.judge(tmp_path / "model", n=4, data=str(larger), sampling=Sampling(steps=1)).store.shape == (
        3,
        SIDE,
        SIDE,
    )


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("unet/config.json", {"sample_size": None}, "has no sample_size"),
        ("unet/config.json", {"time_embedding_type": "fourier"}, "time_embedding_type fourier is not supported"),
        ("unet/config.json", {"class_embed_type": "timestep"}, "class_embed_type timestep is not supported"),
        ("unet/config.json", {"_class_name": "UNet1DModel"}, "is of a UNet1DModel"),
        ("unet/config.json", {"block_out_channels": [16, 64]}, "is not a whole UNet2DModel"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "odd"}, "unknown beta_schedule odd"),
        ("scheduler/scheduler_config.json", {"prediction_type": "odd"}, "unknown prediction_type odd"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": None}, "one with betas is needed"),
    ],
)
def test_what_is_not_known_is_one_line(tmp_path: Path, file: str, change: dict[str, Any], reason: str) -> None:
    pipeline(tmp_path)
    config = json.loads((tmp_path / file).read_text()) | change
    (tmp_path / file).write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    with pytest.raises(UserError, match=reason) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_only_safetensors(tmp_path: Path) -> None:
    pipeline(tmp_path)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(UserError, match=r"only diffusion_pytorch_model\.bin, which can run code"):
        load(tmp_path)
    weights.write_bytes(b"\x00" * 100)
    with pytest.raises(UserError, match="is not a whole UNet2DModel"):
        load(tmp_path)
