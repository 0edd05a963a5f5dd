"""A LoRA in the training loop: the base stays, photos are learned, a resumed run ends in the same bytes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.errors import UserError
from sfumato.lora.adapter import Adapter, Shape, attach, taken
from sfumato.models.sd import pipeline as pipelines
from sfumato.progress import Event, Phase, Save
from sfumato.recipe import recipe as recipes
from sfumato.runs import checkpoint
from sfumato.training.task import generator_for
from sfumato.tuning import start
from sfumato.tuning.parked import Parked
from sfumato.tuning.photos.photoset import tokens, trigger

from .conftest import answer, base, stirred
from .test_photos import scene


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for k in range(6):
        scene(k, (40, 40)).save(folder / f"{k}.png")
    (folder / "2.txt").write_text("on a road")
    return folder


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(base(), tmp_path_factory.mktemp("base") / "base", half=False)


def recipe_of(photos: Path, pipe: Path, **tune: Any) -> recipes.Recipe:
    return recipes.build({
        "task": "tune", "data": {"source": str(photos)}, "noise": {"weighting": "min-snr-5", "prediction": "v"},
        "tune": {"base": str(pipe), "noun": "car", "trigger": "zarnu", "rank": 4, "alpha": 4, "variants": 3, **tune},
        "train": {"images": 24, "batch": 4, "lr": 1e-2, "warmup": 0, "ema": [0.1], "precision": "fp32"},
    })  # fmt: skip


def test_an_adapter_is_its_own_numbers_alone_and_a_copy_can_take_its_place() -> None:
    model = base()
    attach(model.net, Shape(rank=2))  # type: ignore[arg-type]
    adapter = Adapter(model.net)  # type: ignore[arg-type]
    assert all("lora" in name for name in adapter.state_dict())
    plain = answer(model)
    other = copy.deepcopy(adapter)
    stirred(other)  # type: ignore[arg-type]
    assert torch.equal(answer(model), plain)
    with other.in_place():
        assert not torch.equal(answer(model), plain)
    assert torch.equal(answer(model), plain)


def test_gradients_of_a_copy_are_its_own() -> None:
    model = base()
    attach(model.net, Shape(rank=2))  # type: ignore[arg-type]
    adapter = Adapter(model.net)  # type: ignore[arg-type]
    other = copy.deepcopy(adapter)
    x, states = torch.randn(2, *model.space), model.condition(["a red car"], 2)
    other(x, torch.zeros(2), **states.tensors).square().mean().backward()
    assert all(p.grad is None for p in adapter.parameters())
    assert any(p.grad is not None for p in other.parameters())


def test_what_is_prepared(photos: Path, pipe: Path, tmp_path: Path) -> None:
    job = start.begin(recipe_of(photos, pipe), out=tmp_path / "run")
    assert job.photos.pictures.shape == (6, 3, 3, 16, 16)
    assert job.photos.latents.shape == (6, 3, 4, 8, 8)
    assert job.photos.captions[2] == f"a {job.recipe.tune.trigger} car, on a road"
    name = job.recipe.tune.trigger
    assert set(job.photos.captions) - {job.photos.captions[2]} == {f"a {name} car"}
    assert (job.photos.learned, job.photos.held_out) == ([0, 1, 2, 3, 5], [4])
    assert job.estimate.images_per_second > 0


def test_a_run_learns_and_resumes_bit_for_bit(photos: Path, pipe: Path, tmp_path: Path) -> None:
    recipe = recipe_of(photos, pipe)
    start.run(start.begin(recipe, out=tmp_path / "one"))
    job = start.begin(recipe, ["train.save_seconds=0.001"], tmp_path / "two")

    def stop(event: Event) -> None:
        if isinstance(event, Save) and event.images >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start.run(job, stop)
    start.run(start.begin(recipe, out=tmp_path / "two"))
    (one, two) = (checkpoint.newest(tmp_path / name / "checkpoints")[0] for name in ("one", "two"))
    assert one is not None
    assert two is not None
    assert one.images == two.images == 24
    for file in ("model.safetensors", "ema-0.100.safetensors"):
        assert (one.path / file).read_bytes() == (two.path / file).read_bytes()
    assert sum(file.stat().st_size for file in one.path.iterdir()) < 2e6


@pytest.mark.parametrize(
    ("precision", "prediction", "text"),
    [
        ("fp32", "epsilon", True), ("fp32", "v", False), ("bf16", "epsilon", False), ("bf16", "v", True),
        *(pytest.param("fp16", *each, marks=pytest.mark.slow) for each in (("epsilon", True), ("v", False))),
    ],
)  # fmt: skip
def test_every_dtype_takes_steps_and_learns_two_photos(
    photos: Path, tmp_path: Path, precision: str, prediction: str, text: bool
) -> None:
    model = base(precision)
    model.prediction = prediction
    recipe = recipe_of(photos, tmp_path, text_encoder=text, prior=0).with_({"noise.prediction": prediction})
    found = start.prepare(start.check(photos, 16), model, "a zarnu car", "zarnu", 1, False, 0)
    task = start.Personalise(recipe, model, found, "zarnu car")
    assert {p.dtype for p in task.net.parameters()} == {torch.float32}
    rates = torch.optim.AdamW(task.net.parameters(), 1e-2)
    batch = {key: value[:2] for key, value in task.draw(0, 2, generator_for(0, 0)).items()}
    losses = []
    before = task.held_out(task.net)
    assert before.figures["drift"] == 0
    for _ in range(12):
        loss = task.loss(task.net, batch).mean()
        loss.backward()
        rates.step()
        rates.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]
    assert task.held_out(task.net).figures["drift"] > 0
    changed = [name for name, piece in taken(model.net).pieces() if piece.up.abs().max() > 0]  # type: ignore[arg-type]
    assert any(name.startswith("text") for name in changed) is text


def test_the_prior_holds_the_base_where_the_trigger_is_not_said(photos: Path, pipe: Path, tmp_path: Path) -> None:
    drifts = {}
    for prior in (0.0, 5.0):
        start.run(start.begin(recipe_of(photos, pipe, prior=prior), out=tmp_path / str(prior)))
        drifts[prior] = start.RunFolder(tmp_path / str(prior)).events("held_out")[-1]["drift"]
    assert drifts[5.0] < 0.7 * drifts[0.0]


def test_triggers() -> None:
    model = base()
    assert trigger(model, "") == "zarnu"
    assert trigger(model, "vilko") == "vilko"
    assert trigger(model, "red zarnu") == "red zarnu"
    assert len({trigger(model, "", f"run {k}") for k in range(40)}) > 15
    with pytest.raises(UserError, match="a word that the base knows"):
        trigger(model, "red car")
    with pytest.raises(UserError, match="tokens: choose a shorter one"):
        trigger(model, "extraordinary")
    with pytest.raises(UserError, match="a word that the base knows"):
        trigger(model, "car")
    assert tokens(model, "car") == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"noun": ""}, "name the kind of thing"),
        ({"base": "cifar10"}, "not a text-to-image model"),
        ({"noun": "antidisestablishmentarianism"}, "does not know it"),
        ({"noun": "  "}, "name the kind of thing"),
        ({"caption": "a {name}"}, "only {trigger} and {noun} can be used in it"),
        ({"caption": "a {"}, "only {trigger} and {noun} can be used in it"),
    ],
)
def test_mistakes(photos: Path, pipe: Path, tmp_path: Path, change: dict[str, str], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        start.begin(recipe_of(photos, pipe, **change), out=tmp_path / "run")


def test_photos_that_are_none(pipe: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(tmp_path / "a.png")
    job = start.begin(recipe_of(tmp_path, pipe), out=tmp_path / "run")
    assert [v.use for v in job.report.verdicts] == ["doubtful"]


def test_what_is_not_asked_for_is_away_and_comes_back(photos: Path, pipe: Path, tmp_path: Path) -> None:
    job = start.begin(recipe_of(photos, pipe), out=tmp_path / "run")
    vae = job.model.autoencoder
    assert not sum(p.numel() for p in vae.parameters())
    assert sum(p.numel() for p in job.model.net.unet.parameters())  # type: ignore[union-attr]
    with job.task.parked.here():
        assert torch.allclose(job.model.enter(job.photos.pictures[:, 0]), job.photos.latents[:, 0], atol=1e-5)
    assert not sum(p.numel() for p in vae.parameters())
    job.task.preview(job.task.net)
    learning = start.begin(recipe_of(photos, pipe, text_encoder=True), out=tmp_path / "other")
    assert sum(p.numel() for p in learning.model.net.text.parameters())  # type: ignore[union-attr]


def test_computing_twice_changes_no_gradient(photos: Path, pipe: Path, tmp_path: Path) -> None:
    grads = []
    for twice in (False, True):
        job = start.begin(recipe_of(photos, pipe, checkpointing=twice), out=tmp_path / str(twice))
        assert job.twice is twice
        stirred(job.model.net)  # type: ignore[arg-type]
        job.task.loss(job.task.net, job.task.draw(0, 4, generator_for(0, 0))).mean().backward()
        grads.append([p.grad for p in job.task.net.parameters()])
    torch.testing.assert_close(*grads)  # attention is computed another way then


def test_short_memory_is_noticed(photos: Path, pipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for room, twice in ((1e12, False), (1e6, True), (1.0, True)):
        monkeypatch.setattr(start, "_room", lambda device, room=room: room)
        assert start.begin(recipe_of(photos, pipe), out=tmp_path / "run").twice is twice


def test_dreambooths_class_pictures_are_drawn_once_and_learned(photos: Path, pipe: Path, tmp_path: Path) -> None:
    recipe = recipe_of(photos, pipe, class_pictures=10)
    told: list[Event] = []
    run = start.run(start.begin(recipe, out=tmp_path / "run"), told.append)
    assert [event.done for event in told if isinstance(event, Phase)] == [8, 10]
    drawn = start.load_file(run.path / start.PRIOR)["target"]
    assert drawn.shape == (start.MOST, 4, 8, 8)
    assert len(drawn.unique(dim=0)) == 10
    again = start.begin(recipe, ["train.images=32"], tmp_path / "run")
    start.run(again, told.append)
    assert torch.equal(again.task.prior.target, drawn)
    assert sum(isinstance(event, Phase) for event in told) == 2
    assert next(event["images"] for event in run.events("preview")) == 0


def test_a_damaged_prior_is_made_again_the_same(photos: Path, pipe: Path, tmp_path: Path) -> None:
    recipe = recipe_of(photos, pipe)
    job = start.begin(recipe, ["train.save_seconds=0.001"], tmp_path / "run")

    def stop(event: Event) -> None:
        if isinstance(event, Save):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start.run(job, stop)
    file = tmp_path / "run" / start.PRIOR
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    start.run(start.begin(recipe, out=tmp_path / "run"))
    assert file.read_bytes() == whole


def test_steps_count_after_all_else_is_known(photos: Path, pipe: Path, tmp_path: Path) -> None:
    job = start.begin(recipe_of(photos, pipe), ["train.batch=2"], tmp_path / "run", steps=5)
    assert (job.recipe.train.images, job.recipe.tune.choose, job.recipe.train.save_images) == (10, False, None)


def test_captions_are_part_of_what_is_learned(photos: Path, pipe: Path, tmp_path: Path) -> None:
    start.run(start.begin(recipe_of(photos, pipe), out=tmp_path / "run"))
    (photos / "3.txt").write_text("in a wood")
    try:
        with pytest.raises(UserError, match="have changed since the run began"):
            start.run(start.begin(recipe_of(photos, pipe), out=tmp_path / "run"))
    finally:
        (photos / "3.txt").unlink()


def test_dropout_is_for_training_alone() -> None:
    model = base()
    attach(model.net, Shape(rank=4, dropout=0.5))  # type: ignore[arg-type]
    stirred(model.net)  # type: ignore[arg-type]
    assert torch.equal(answer(model), answer(model))
    adapter = Adapter(model.net).train()  # type: ignore[arg-type]
    x, states = torch.randn(2, *model.space), model.condition(["a red car"], 2)
    assert not torch.equal(*(adapter(x, torch.zeros(2), **states.tensors) for _ in range(2)))
    assert torch.equal(answer(model), answer(model))


def test_what_was_parked_by_a_process_that_is_gone_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path))
    gone = tmp_path / "parked" / "999999999-abc"
    gone.mkdir(parents=True)
    layer = torch.nn.Linear(4, 4)
    want = layer.weight.detach().clone()
    parked = Parked([layer])
    assert not gone.exists()
    assert layer.weight.numel() == 0
    parked.back()
    assert torch.equal(layer.weight, want)
    del parked
    assert not list((tmp_path / "parked").iterdir())
