"""A model as an object: what a picture depends on, what can be told, films, and what cannot be loaded."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfumato import recipe as recipes
from sfumato.errors import UserError
from sfumato.model import Model, caption, concrete, fitting_batch, load, models, net_of, schedule_of
from sfumato.nets.unet import PRESETS
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe import Net, Noise, SamplerName
from sfumato.train import checkpoint

from .tiny import LABELS, model_of, recipe_of, train_run, write_pictures

SAMPLERS = SamplerName.__args__  # type: ignore[attr-defined]
CAPTIONS = ("a red circle on a blue background", "a blue circle on a red background")


def near(a: Tensor, b: Tensor) -> bool:
    """Equal within 1 of 255, and not trivially so."""
    return a.shape == b.shape and int((a.int() - b.int()).abs().max()) <= 1 and float(a.float().std()) > 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two checkpoints on labelled pictures."""
    root = tmp_path_factory.mktemp("run")
    return train_run(root / "ants", recipe_of(write_pictures(root / "pictures")), (160, 320))


class TestSampling:
    @pytest.mark.parametrize("sampler", SAMPLERS)
    @pytest.mark.parametrize("condition", ["none", "class"])
    def test_a_picture_is_the_same_in_any_batch(self, sampler: str, condition: str) -> None:
        model = model_of(condition)
        texts = None if condition == "none" else LABELS
        eight = model.sample(8, sampler=sampler, batch=8, texts=texts, guidance=1.7)
        assert eight.shape == (8, 3, 8, 8)
        assert eight.dtype == torch.uint8
        assert near(model.sample(5, sampler=sampler, texts=texts, guidance=1.7), eight[:5])
        assert near(model.sample(8, sampler=sampler, batch=3, texts=texts, guidance=1.7), eight)
        assert len({picture.numpy().tobytes() for picture in eight}) == 8

    @pytest.mark.parametrize("sampler", ["ddpm", "dpm++2m"])
    def test_a_seed_names_a_picture(self, sampler: str) -> None:
        model = model_of()
        four = model.sample(4, seed=11, sampler=sampler)
        assert torch.equal(four, model.sample(4, seed=11, sampler=sampler))
        for k in range(4):
            assert near(model.sample(1, seed=11 + k, sampler=sampler), four[k : k + 1])
        assert not near(model.sample(4, seed=12, sampler=sampler), four)

    @pytest.mark.parametrize("seed", [0, 2**31, 2**63 - 2, 2**64 - 2, 10**30])
    def test_any_seed(self, seed: int) -> None:
        four = model_of().sample(4, seed=seed, steps=1)
        assert len({picture.numpy().tobytes() for picture in four}) == 4

    def test_texts_go_round(self) -> None:
        model = model_of("class")
        five = model.sample(5, texts=["ant", "cat"])
        assert near(five, model.sample(5, texts=["ant", "cat", "ant", "cat", "ant"]))
        assert not near(five[1:2], model.sample(5, texts=["ant"])[1:2])
        assert near(model.sample(3, texts=[]), model.sample(3))
        assert near(model.sample(3, texts=[""]), model.sample(3))

    def test_the_order_of_words_is_told(self) -> None:
        model = model_of("words", CAPTIONS)
        one, two = (model.sample(2, texts=[text], guidance=3) for text in CAPTIONS)
        assert not near(one, two)

    def test_guidance_acts_in_its_interval_alone(self) -> None:
        model = model_of("class")
        told: dict[str, Any] = {"texts": ["bee"]}
        plain = model.sample(3, **told, guidance=1)
        assert not near(plain, model.sample(3, **told, guidance=4))
        assert near(plain, model.sample(3, **told, guidance=4, interval=(500.0, 600.0)))
        every = model.sample(3, **told, guidance=4)
        assert near(every, model.sample(3, **told, guidance=4, interval=(0.0, 1e9)))
        assert near(model.sample(3, guidance=4), model.sample(3))  # nothing told, nothing to strengthen
        assert near(model.sample(3, **told, guidance=0), model.sample(3))

    def test_clip_keeps_what_the_denoiser_says_in_range(self) -> None:
        model = model_of()
        assert not torch.equal(model.sample(3, clip=True), model.sample(3, clip=False))

    @pytest.mark.parametrize("colours", [1, 3])
    def test_grey_and_long_pictures(self, colours: int) -> None:
        assert model_of(shape=(colours, 8, 16)).sample(3).shape == (3, colours, 8, 16)

    @pytest.mark.parametrize(
        "noise",
        [
            {"schedule": "linear", "prediction": "epsilon", "weighting": "uniform", "timesteps": 20},
            {"schedule": "cosine", "prediction": "x0", "timesteps": 20},
            {"schedule": "scaled-linear-zero", "prediction": "v", "timesteps": 20},
            {"schedule": "flow", "prediction": "flow"},
        ],
        ids=lambda noise: noise["schedule"],
    )
    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_every_sampler_on_every_schedule(self, sampler: str, noise: dict[str, Any]) -> None:
        model = model_of(noise=noise)
        assert near(model.sample(3, sampler=sampler, batch=2), model.sample(4, sampler=sampler)[:3])

    def test_the_callback_sees_every_step_of_every_batch(self) -> None:
        seen: list[tuple[int, int, int]] = []
        model_of().sample(5, batch=2, steps=3, callback=lambda first, s: seen.append((first, s.index, len(s.x))))
        assert seen == [(first, k, min(2, 5 - first)) for first in (0, 2, 4) for k in range(3)]

    def test_batches_fit_the_device(self) -> None:
        assert fitting_batch((3, 32, 32), "cpu") == 170
        assert fitting_batch((3, 1024, 1024), "cpu") == 1
        assert fitting_batch((1, 8, 8), "cpu") == fitting_batch((3, 8, 8), "cuda") == 512


class TestWhatCannotBe:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"guidance": float("nan")}, "sample.guidance.*finite"),
            ({"guidance": float("inf")}, "sample.guidance.*finite"),
            ({"interval": (float("nan"), 1.0)}, "sample.interval.*finite"),
            ({"steps": 0}, "sample.steps.*greater than or equal to 1"),
            ({"sampler": "dpm++3m"}, r"sample.sampler.*dpm\+\+2m"),
            ({"stepz": 3}, "did you mean sample.steps"),
        ],
    )
    def test_settings(self, changes: dict[str, Any], reason: str) -> None:
        with pytest.raises(UserError, match=reason) as caught:
            model_of().sample(2, **changes)
        assert "\n" not in str(caught.value)

    def test_more_steps_than_timesteps(self) -> None:
        model = model_of(noise={"schedule": "linear", "prediction": "epsilon", "timesteps": 10})
        assert len(model.sample(1, steps=10)) == 1
        for use in (model.sample, model.film):
            with pytest.raises(UserError, match="between 1 and 10"):
                use(1, steps=11)

    def test_an_unconditional_model_is_told_nothing(self) -> None:
        with pytest.raises(UserError, match="trained without labels or captions"):
            model_of().sample(2, texts=["ant"])

    def test_unknown_labels_and_words_name_the_nearest(self) -> None:
        with pytest.raises(UserError, match="unknown label 'antt'; did you mean 'ant'"):
            model_of("class").sample(2, texts=["ant", "antt"])
        model = model_of("words", CAPTIONS)
        with pytest.raises(UserError, match="unknown word 'cirkle'; did you mean 'circle'"):
            model.sample(2, texts=["a red cirkle"])
        with pytest.raises(UserError, match="at most 7"):
            model.sample(2, texts=["a red circle on a blue background blue"])

    @pytest.mark.parametrize(
        ("net", "shape", "reason"),
        [
            ({}, (3, 30, 32), "30 is not divisible by 4 .* use 32"),
            ({}, (3, 32, 33), "33 is not divisible by 4 .* use 32"),
            ({"stem": 4}, (1, 4, 4), "4 is not divisible by 8 .* use 8"),
            ({"channels": [16, 32, 64]}, (3, 32, 32), "3 levels of channels and 2 of attention"),
            ({"channels": [20, 32]}, (3, 32, 32), "multiples of 8"),
        ],
    )
    def test_nets_that_do_not_fit(self, net: dict[str, Any], shape: tuple[int, ...], reason: str) -> None:
        section = Net.model_validate({"channels": [16, 32], "attention": [False, True], "blocks": 1, "stem": 2} | net)
        with pytest.raises(UserError, match=reason):
            net_of(section, shape, Vocabulary("none", [], 0))


class TestFilms:
    def test_the_reverse_film_ends_in_the_picture(self) -> None:
        model = model_of("class")
        pictures, film = model.film(3, texts=["bee"], seed=5, steps=6)
        assert near(pictures, model.sample(3, texts=["bee"], seed=5, steps=6))
        assert len(film.frames) == len(film.captions) == 7
        assert torch.equal(film.frames[-1], pictures)
        assert film.captions[0] == "sigma 80"
        assert film.captions[-1] == "done"
        noises = [float(words.removeprefix("sigma ")) for words in film.captions[:-1]]
        assert noises == sorted(noises, reverse=True)
        assert all(frame.shape == pictures.shape and frame.dtype == torch.uint8 for frame in film.frames)

    @pytest.mark.parametrize("schedule", ["edm", "flow", "scaled-linear-zero"])
    def test_the_forward_film_begins_with_the_pictures_and_ends_in_noise(self, schedule: str) -> None:
        prediction = {"edm": "edm", "flow": "flow"}.get(schedule, "v")
        model = model_of(shape=(3, 32, 32), noise={"schedule": schedule, "prediction": prediction})
        ramp = torch.linspace(0, 255, 32).round().to(torch.uint8).expand(4, 3, 32, 32).clone()
        film = model.forward_film(ramp, seed=3, steps=8)
        assert len(film.frames) == len(film.captions) == 9
        assert torch.equal(film.frames[0], ramp)
        assert film.captions[0] == "sigma 0"
        assert film.captions[-1] == ("sigma 80" if schedule == "edm" else "pure noise")

        def likeness(frame: Tensor) -> float:
            return float(torch.corrcoef(torch.stack([frame.flatten().float(), ramp.flatten().float()]))[0, 1])

        likenesses = [likeness(frame) for frame in film.frames]
        assert likenesses[0] == pytest.approx(1)
        assert abs(likenesses[-1]) < 0.05
        assert all(b < a + 0.05 for a, b in itertools.pairwise(likenesses))
        assert film.frames[-1].float().std() == pytest.approx(62, rel=0.1)

    def test_both_films_have_the_same_noise(self) -> None:
        """Picture k starts from the noise that its forward film ends in."""
        model = model_of(shape=(3, 16, 16))
        pictures, reverse = model.film(2, seed=7, steps=5)
        forward = model.forward_film(pictures, seed=7, steps=5)
        assert int((reverse.frames[0].int() - forward.frames[-1].int()).abs().max()) <= 2

    def test_captions_of_levels(self) -> None:
        path = schedule_of(Noise(schedule="scaled-linear-zero", prediction="v")).path(2)
        assert caption(path[0]) == "pure noise"
        assert caption(path[2]) == "sigma 0"


class TestLoading:
    def test_a_run_by_all_its_names(self, run: Path) -> None:
        last = run / "checkpoints" / "000000320"
        model = load(run)
        assert (model.name, model.shape, model.vocabulary.words) == ("ants", (3, 16, 16), list(LABELS))
        wanted = model.sample(3, texts=LABELS)
        for name in (str(run), last, last / "ema-0.050.safetensors"):
            assert torch.equal(load(name).sample(3, texts=LABELS), wanted)
        for name in (run / "checkpoints" / "000000160", last / "ema-0.100.safetensors", last / "model.safetensors"):
            assert not torch.equal(load(name).sample(3, texts=LABELS), wanted)
        assert not model.net.training
        assert not any(p.requires_grad for p in model.net.parameters())

    def test_it_is_what_the_run_previewed(self, run: Path) -> None:
        from sfumato.train.run import RunFolder

        assert RunFolder(run).recipe().net == load(run).recipe.net
        assert (run / "samples" / "000000320.png").is_file()

    def test_a_folder_of_one_safetensors_and_its_config(self, run: Path, tmp_path: Path) -> None:
        last = run / "checkpoints" / "000000320"
        half = {key: value.half() for key, value in load_file(last / "ema-0.050.safetensors").items()}
        save_file(half, tmp_path / "model.safetensors")
        shutil.copy(last / "config.json", tmp_path)
        found = load(tmp_path).sample(3, texts=LABELS).float() - load(run).sample(3, texts=LABELS).float()
        assert found.abs().mean() < 3

    def test_loading_changes_nothing_in_a_run_that_is_alive(self, run: Path, tmp_path: Path) -> None:
        """A save may be under way while somebody samples."""
        shutil.copytree(run, tmp_path / "run")
        part = tmp_path / "run" / "checkpoints" / ".000000480.part"
        part.mkdir()
        (part / "model.safetensors").write_bytes(b"half")
        load(tmp_path / "run")
        assert (part / "model.safetensors").is_file()

    def test_names_that_lead_nowhere(self, tmp_path: Path) -> None:
        for name in ("shaeps-model", str(tmp_path / "gone"), tmp_path / "gone.safetensors"):
            with pytest.raises(UserError, match="no run folder, checkpoint or model named") as caught:
                load(name)
            assert "\n" not in str(caught.value)
        with pytest.raises(UserError, match="is not a run folder, a checkpoint or a model"):
            load(tmp_path)
        (tmp_path / "recipe.yaml").write_text("{}")
        with pytest.raises(UserError, match="has no whole checkpoint yet"):
            load(tmp_path)
        (tmp_path / "checkpoints").mkdir()
        with pytest.raises(UserError, match="has no whole checkpoint yet"):
            load(tmp_path)

    def test_a_damaged_run_falls_back_and_one_damaged_whole_says_so(self, run: Path, tmp_path: Path) -> None:
        shutil.copytree(run, tmp_path / "run")
        folders = checkpoint.listing(tmp_path / "run" / "checkpoints")
        older = load(folders[0]).sample(2, texts=LABELS)
        self.flip(folders[1] / "ema-0.050.safetensors")
        assert torch.equal(load(tmp_path / "run").sample(2, texts=LABELS), older)
        with pytest.raises(UserError, match=r"ema-0\.050\.safetensors is damaged"):
            load(folders[1])
        with pytest.raises(UserError, match=r"ema-0\.050\.safetensors is damaged"):
            load(folders[1] / "ema-0.050.safetensors")
        (folders[0] / "model.safetensors").unlink()
        with pytest.raises(UserError, match=r"no whole checkpoint yet \(000000320/ema-0.050.safetensors is damaged"):
            load(tmp_path / "run")

    @staticmethod
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)

    @pytest.fixture
    def loose(self, run: Path, tmp_path: Path) -> Path:
        """A model outside its run: config.json and model.safetensors, no manifest."""
        last = run / "checkpoints" / "000000320"
        for name in ("config.json", "model.safetensors"):
            shutil.copy(last / name, tmp_path)
        return tmp_path

    @pytest.mark.parametrize(
        "text",
        [
            "", "{", "\x00\x01", "[]", "5", "null", '"text"', "{}",
            '{"recipe": 1}', '{"recipe": {"net": {"blocks": -1}}}',
            '{"recipe": {}, "vocabulary": []}', '{"recipe": {}, "vocabulary": {"kind": "none"}}',
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("averaged", [False, True])
    def test_a_config_of_rubbish(self, loose: Path, text: str, averaged: bool) -> None:
        if averaged:
            (loose / "model.safetensors").rename(loose / "ema-0.050.safetensors")
        (loose / "config.json").write_text(text)
        with pytest.raises(UserError, match=r"config\.json.*does not describe a model"):
            load(loose)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("shape", None), ("shape", [3, 16]), ("shape", ["a", "b", "c"]), ("shape", [3, 15, 16]), ("shape", 3),
            ("shape", [2, 16, 16]), ("vocabulary", {"kind": "class", "words": ["one"], "length": 1}),
            ("vocabulary", {"kind": "none", "words": [], "length": 0}),
        ],
    )  # fmt: skip
    def test_a_config_of_another_model(self, loose: Path, key: str, value: Any) -> None:
        config = json.loads((loose / "config.json").read_text())
        (loose / "config.json").write_text(json.dumps(config | {key: value}))
        with pytest.raises(UserError) as caught:
            load(loose)
        assert "\n" not in str(caught.value)

    def test_a_missing_config(self, loose: Path) -> None:
        (loose / "config.json").unlink()
        with pytest.raises(UserError, match=r"config\.json does not describe"):
            load(loose)

    @pytest.mark.parametrize("harm", ["empty", "short", "text", "pickle", "other", "wider", "missing", "more"])
    def test_weights_that_are_not_this_models(self, loose: Path, harm: str) -> None:
        path = loose / "model.safetensors"
        tensors = load_file(path)
        first = next(iter(tensors))
        if harm in ("empty", "short", "text", "pickle"):
            content = path.read_bytes()
            other = {"empty": b"", "short": content[:-5], "text": b"not weights at all", "pickle": b"\x80\x04."}
            path.write_bytes(other[harm])
        elif harm == "other":
            save_file({"w": torch.ones(3)}, path)
        elif harm == "wider":
            save_file(tensors | {first: torch.zeros(3, 3)}, path)
        elif harm == "missing":
            save_file({key: value for key, value in tensors.items() if key != first}, path)
        else:
            save_file(tensors | {"extra": torch.zeros(1)}, path)
        with pytest.raises(UserError, match=r"model\.safetensors does not hold this model's weights") as caught:
            load(loose)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_not_finite(self, loose: Path, value: float) -> None:
        tensors = load_file(loose / "model.safetensors")
        tensors["enter.weight"].view(-1)[7] = value
        save_file(tensors, loose / "model.safetensors")
        with pytest.raises(UserError, match=r"enter\.weight is not finite"):
            load(loose)

    def test_the_optimiser_is_not_a_model(self, run: Path) -> None:
        with pytest.raises(UserError, match="does not hold this model's weights"):
            load(run / "checkpoints" / "000000320" / "optimizer.safetensors")

    def test_shipped_models_are_whole(self) -> None:
        for name in models():
            model = load(name)
            assert isinstance(model, Model)
            assert model.name == name


def test_a_preset_written_out_is_the_preset() -> None:
    for preset, config in PRESETS.items():
        net = concrete(Net.model_validate({"preset": preset, "dropout": 0.1}))
        assert tuple(net.channels or ()) == config.channels
        assert (net.blocks, tuple(net.attention or ()), net.stem) == (config.blocks, config.attention, config.stem)
        assert concrete(net) == net
    given = recipes.build({}, ["net.channels=[8,8]", "net.attention=[true,false]"]).net
    assert concrete(given).channels == [8, 8]
    assert concrete(given).attention == [True, False]
