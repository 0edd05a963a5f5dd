"""A text-to-image model from captioned pictures to a folder that diffusers loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

import sfumato
from sfumato.errors import UserError
from sfumato.models.latent import LatentModel
from sfumato.models.prompts import tokens
from sfumato.models.sampling import Sampling
from sfumato.models.sd import pipeline as pipelines
from sfumato.progress import Event, Phase, Save
from sfumato.recipe import recipe as recipes
from sfumato.runs.folder import RunFolder
from sfumato.training import start
from sfumato.training.latents import autoencoder_named
from sfumato.zoo import load

WORDS = ("red", "green", "blue")
INK = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty plain pictures of 32 px with captions."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for k in range(40):
        word = WORDS[k % 3]
        flat = np.full((32, 32, 3), INK[word]) + rng.normal(0, 3, (32, 32, 3))
        Image.fromarray(flat.clip(0, 255).astype(np.uint8)).save(folder / f"{k:02d}.png")
        (folder / f"{k:02d}.txt").write_text(f"a {word} square, number {k}")
    return folder


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder and a model on it, each trained for a moment."""
    root = tmp_path_factory.mktemp("runs")
    data = {"source": str(pictures), "image_size": 32, "flip": False}
    brief = {"batch": 16, "precision": "fp32", "warmup": 0}
    ground = recipes.build({
        "task": "autoencoder", "data": data, "train": {**brief, "images": 160},
        "net": {"kind": "latent", "channels": [8, 16, 16], "latent": 4},
    })  # fmt: skip
    start.run(start.prepare(ground, out=root / "ground"))
    whole = recipes.build({
        "task": "text", "data": {**data, "condition": "words"}, "train": {**brief, "images": 320},
        "net": {"kind": "latent", "channels": [32, 64]}, "sample": {"steps": 4, "guidance": 2.0},
        "noise": {"schedule": "scaled-linear-zero", "prediction": "v", "weighting": "min-snr-5"},
        "text": {"autoencoder": str(root / "ground"), "words": 800, "length": 16, "width": 32, "layers": 1},
    })  # fmt: skip
    start.run(start.prepare(whole, out=root / "whole"))
    return root / "whole"


@pytest.fixture(scope="module")
def model(run: Path) -> LatentModel:
    found = load(run, precision="fp32")
    assert isinstance(found, LatentModel)
    return found


def test_it_is_a_model_like_any_other(model: LatentModel) -> None:
    pictures = model.sample(3, texts=["a red square"], seed=4)
    assert pictures.shape == (3, 3, 32, 32)
    alone = model.sample(1, texts=["a red square"], seed=5)
    assert (pictures[1:2].int() - alone.int()).abs().max() <= 1  # diffusers' layers round by the size of a batch
    _, film = model.film(2, texts=["a blue square"])
    assert len(film.frames) == 5


def test_prompts_negatives_sizes_and_pictures_to_start_from_matter(model: LatentModel) -> None:
    plain = model.sample(1, texts=["a red square"])
    assert not torch.equal(plain, model.sample(1, texts=["a blue square"]))
    assert not torch.equal(plain, model.sample(1, texts=["a red square"], sampling=Sampling(negative="a green square")))
    assert not torch.equal(plain, model.sample(1, texts=["a red square"], sampling=Sampling(rescale=0.7)))
    assert model.sized(48, 64).sample(1, texts=["a red square"]).shape == (1, 3, 48, 64)
    near = model.sample(1, texts=["a red square"], init=plain[0], sampling=Sampling(strength=0.25))
    assert not torch.equal(near, plain)
    with pytest.raises(UserError, match="multiples of 8"):
        model.sized(50, 64)


def test_words_that_do_not_fit_are_named(model: LatentModel) -> None:
    assert model.cut(["a red square"]) == []
    (line,) = model.cut(["a red square " * 5])
    assert line.endswith(": square") or line.endswith("red square")
    with pytest.raises(UserError, match="shorten it"):
        model.condition(["a red square " * 1000], 1)


def test_diffusers_alone_draws_the_same_pictures(model: LatentModel, tmp_path: Path) -> None:
    """From the same noise and levels, its DDIM and ours, within 1e-4 of the range."""
    out = pipelines.write(model, tmp_path / "pipe", half=False)
    pipe = StableDiffusionPipeline.from_pretrained(out)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.stack([torch.randn(model.space, generator=torch.Generator().manual_seed(k)) for k in range(2)])
    with torch.inference_mode():
        theirs = pipe("a red square", latents=noise, num_images_per_prompt=2, num_inference_steps=4, guidance_scale=2.0,
                      output_type="np").images  # fmt: skip
    ours = load(out, precision="fp32").sample(
        2, texts=["a red square"], sampling=Sampling(sampler="ddim", steps=4, guidance=2.0)
    )
    assert np.abs(theirs - ours.permute(0, 2, 3, 1).numpy() / 255).max() < 0.5 / 255 + 1e-4


def test_a_folder_comes_back_as_it_was(model: LatentModel, tmp_path: Path) -> None:
    again = load(pipelines.write(model, tmp_path / "pipe", half=False), precision="fp32")
    assert torch.equal(again.sample(2, texts=["a red square"]), model.sample(2, texts=["a red square"]))
    half = load(pipelines.write(model, tmp_path / "half"), precision="fp32")
    far = half.sample(2, texts=["a red square"]).int() - model.sample(2, texts=["a red square"]).int()
    assert far.abs().max() <= 4


def test_half_precision_draws_nearly_the_same(model: LatentModel, tmp_path: Path) -> None:
    out = pipelines.write(model, tmp_path / "pipe")
    low = load(out, precision="bf16")
    assert {p.dtype for p in low.net.parameters()} == {torch.bfloat16}
    far = low.sample(4, texts=["a red square"]).float() - model.sample(4, texts=["a red square"]).float()
    assert far.abs().mean() < 6


def test_a_run_resumes_bit_for_bit(run: Path, pictures: Path, tmp_path: Path) -> None:
    part = recipes.load(run / "recipe.yaml")
    job = start.prepare(part, ["train.save_seconds=0.001"], tmp_path / "again")

    def stop(event: Event) -> None:
        if isinstance(event, Save) and event.images >= 160:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start.run(job, stop)
    start.run(start.prepare(part, ["train.save_seconds=1000"], tmp_path / "again"))
    one, two = (sfumato.load(path).net.state_dict() for path in (run, tmp_path / "again"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_encoding_is_reported(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    events: list[Event] = []
    job = start.prepare(recipes.load(run / "recipe.yaml"), out=tmp_path / "run", progress=events.append)
    counted = [event for event in events if isinstance(event, Phase) and event.what == "encoding"]
    assert counted[-1].done == counted[-1].total == len(job.store.train) + len(job.store.held_out)


@pytest.mark.slow
def test_a_decoder_learns_on_latents_that_stay(run: Path, pictures: Path, tmp_path: Path) -> None:
    recipe = recipes.build({
        "task": "autoencoder", "data": {"source": str(pictures), "image_size": 32}, "net": {"encoder": str(run)},
        "train": {"batch": 8, "images": 480, "warmup": 0, "precision": "fp32"},
    })  # fmt: skip
    start.run(start.prepare(recipe, out=tmp_path / "decoder"))
    before, after = (autoencoder_named(str(path), "net.encoder").state_dict() for path in (run, tmp_path / "decoder"))
    fixed = [key for key in before if key.startswith(("encoder.", "quant_conv."))]
    assert fixed
    assert all(torch.equal(before[key], after[key]) for key in fixed)
    losses = [each["loss"] for each in RunFolder(tmp_path / "decoder").events("held_out")]
    truth = [each["loss"] for each in RunFolder(run.parent / "ground").events("held_out")]
    assert losses[-1] < truth[-1]
    with pytest.raises(UserError, match=r"net\.encoder"):
        start.prepare(recipe.with_({"net.encoder": "nowhere/at-all"}))


def test_a_run_goes_on_when_what_it_began_with_is_gone(model: LatentModel, run: Path, tmp_path: Path) -> None:
    pipe = pipelines.write(model, tmp_path / "pipe")
    changes = {"train.images": 16, "text.autoencoder": str(pipe), "train.begin": str(pipe)}
    recipe = recipes.load(run / "recipe.yaml").with_(changes)
    begun = start.prepare(recipe, out=tmp_path / "run")
    start.run(begun)
    pipe.rename(tmp_path / "elsewhere")
    job = start.prepare(tmp_path / "run", ["train.images=32"])
    assert torch.equal(job.task.captions, begun.task.captions)  # type: ignore[attr-defined]
    assert torch.equal(job.task.store.train.pixels, begun.task.store.train.pixels)  # type: ignore[attr-defined]
    start.run(job)
    assert RunFolder(tmp_path / "run").events("start")[-1]["images"] == 16
    with pytest.raises(UserError, match="pipe"):
        start.prepare(recipe, out=tmp_path / "another")


def test_a_model_is_no_beginning_on_other_latents(run: Path, tmp_path: Path) -> None:
    ground = recipes.load(run.parent / "ground" / "recipe.yaml").with_({"train.images": 16, "train.seed": 1})
    start.run(start.prepare(ground, out=tmp_path / "ground"))
    changes = {"text.autoencoder": str(tmp_path / "ground"), "train.begin": str(run)}
    recipe = recipes.load(run / "recipe.yaml").with_(changes)
    with pytest.raises(UserError, match=rf"other latents .* set text\.autoencoder={run}"):
        start.prepare(recipe, out=tmp_path / "run")


def test_an_autoencoder_begins_with_another(run: Path, tmp_path: Path) -> None:
    ground = recipes.load(run.parent / "ground" / "recipe.yaml").with_({"train.begin": str(run), "train.seed": 1})
    begun = start.prepare(ground, out=tmp_path / "ground").task.net.state_dict()
    for key, value in autoencoder_named(str(run), "").state_dict().items():
        assert torch.equal(begun[f"vae.{key}"], value), key


def test_pictures_that_an_autoencoder_does_not_take_are_one_line(run: Path, tmp_path: Path) -> None:
    ground = run.parent / "ground" / "recipe.yaml"
    for change, words in (
        ("net.piece=18", r"net\.piece: .* multiples of 4 .*, not 18"),
        ("data.image_size=30", r"data\.image_size: .* multiples of 4 .*, not 30"),
        ("data.grey=true", r"data\.grey=false"),
    ):
        with pytest.raises(UserError, match=words):
            start.prepare(recipes.load(ground, [change]), out=tmp_path / "run")
    with pytest.raises(UserError, match=r"data\.grey=false"):
        start.prepare(recipes.load(run / "recipe.yaml", ["data.grey=true"]), out=tmp_path / "run")


def test_prompts_leave_the_tokenizer_as_it_was(model: LatentModel, tmp_path: Path) -> None:
    tokenizer = model.tokenizers[0]
    backend = tokenizer.backend_tokenizer
    words = "a red square, number 12, " * 8
    backend.no_truncation()
    backend.no_padding()
    whole = tokenizer(words).input_ids
    ids = tokens(tokenizer, [words, "a"])
    assert ids.shape == (2, tokenizer.model_max_length)
    assert ids[0].tolist() == [*whole[: ids.shape[1] - 1], tokenizer.eos_token_id]
    assert backend.truncation is None
    assert backend.padding is None
    assert backend.encode(words).ids == whole
    backend.enable_truncation(5)
    backend.enable_padding(length=7, pad_id=3, pad_token="b")
    before = backend.truncation, backend.padding
    assert torch.equal(tokens(tokenizer, [words, "a"]), ids)
    assert (backend.truncation, backend.padding) == before
    backend.no_truncation()
    backend.no_padding()


@pytest.mark.parametrize("task", ["autoencoder", "text"])
def test_a_pipeline_folder_is_ground_enough(task: str, model: LatentModel, run: Path, tmp_path: Path) -> None:
    """A decoder, and another model on the same latents, begun from what was exported: the checkpoint is JSON."""
    pipe = str(pipelines.write(model, tmp_path / "pipe"))
    changes = {"task": task, "train.images": 16, "net.encoder": pipe, "text.autoencoder": pipe}
    recipe = recipes.load(run / "recipe.yaml").with_(changes)
    start.run(start.prepare(recipe, out=tmp_path / "run"))
    before, after = (autoencoder_named(str(path), "").state_dict() for path in (pipe, tmp_path / "run"))
    assert all(torch.equal(before[key], after[key]) for key in before if key.startswith("encoder."))
