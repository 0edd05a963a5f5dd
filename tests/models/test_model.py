"""A model as an object: what a picture depends on, what can be told, films, and what cannot be loaded."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato import registry
from sfumato.errors import UserError
from sfumato.models.model import caption, fitting_batch
from sfumato.models.named import concrete, net_of, schedule_of
from sfumato.models.sampling import Sampling
from sfumato.nets.unet import PRESETS
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe import recipe as recipes
from sfumato.recipe.sections import Net, Noise

from ..tiny import LABELS, model_of

SAMPLERS = registry.names("sampler")
CAPTIONS = ("a red circle on a blue background", "a blue circle on a red background")


def near(a: Tensor, b: Tensor) -> bool:
    """Equal within 1 of 255, and not trivially so."""
    return a.shape == b.shape and int((a.int() - b.int()).abs().max()) <= 1 and float(a.float().std()) > 5


class TestSampling:
    @pytest.mark.parametrize("sampler", SAMPLERS)
    @pytest.mark.parametrize("condition", ["none", "class"])
    def test_a_picture_is_the_same_in_any_batch(self, sampler: str, condition: str) -> None:
        model = model_of(condition)
        texts = None if condition == "none" else LABELS
        how = Sampling(sampler=sampler, guidance=None if condition == "none" else 1.7)
        eight = model.sample(8, sampling=how, batch=8, texts=texts)
        assert eight.shape == (8, 3, 8, 8)
        assert eight.dtype == torch.uint8
        assert near(model.sample(5, sampling=how, texts=texts), eight[:5])
        assert near(model.sample(8, sampling=how, batch=3, texts=texts), eight)
        assert len({picture.numpy().tobytes() for picture in eight}) == 8

    @pytest.mark.parametrize("sampler", ["ddpm", "dpm++2m"])
    def test_a_seed_names_a_picture(self, sampler: str) -> None:
        model = model_of()
        with pytest.raises(UserError, match="draw at least one"):
            model.sample(0, sampling=Sampling(sampler=sampler))
        four = model.sample(4, seed=11, sampling=Sampling(sampler=sampler))
        assert torch.equal(four, model.sample(4, seed=11, sampling=Sampling(sampler=sampler)))
        for k in range(4):
            assert near(model.sample(1, seed=11 + k, sampling=Sampling(sampler=sampler)), four[k : k + 1])
        assert not near(model.sample(4, seed=12, sampling=Sampling(sampler=sampler)), four)

    @pytest.mark.parametrize("seed", [0, 2**31, 2**63 - 2, 2**64 - 2, 10**30])
    def test_any_seed(self, seed: int) -> None:
        four = model_of().sample(4, seed=seed, sampling=Sampling(steps=1))
        assert len({picture.numpy().tobytes() for picture in four}) == 4

    @pytest.mark.parametrize("seed", [-1, 0.5])
    def test_what_is_no_seed(self, seed: Any) -> None:
        with pytest.raises(UserError, match="a seed is a whole number"):
            model_of().sample(1, seed=seed, sampling=Sampling(steps=1))

    @pytest.mark.parametrize(
        ("how", "reason"),
        [
            (Sampling(eta=1, sampler="dpm++2m"), "eta is an option of ddim"),
            (Sampling(churn=3, sampler="dpm++2m"), "churn is an option of heun"),
            (Sampling(guidance=2), "no labels or prompts, which guidance needs"),
        ],
    )
    def test_what_would_change_nothing(self, how: Sampling, reason: str) -> None:
        with pytest.raises(UserError, match=reason):
            model_of().settings(how)
        with pytest.raises(UserError, match=reason):
            model_of().sample(1, sampling=how)
        assert model_of().settings(Sampling(guidance=1)).guidance == 1

    def test_texts_go_round(self) -> None:
        model = model_of("class")
        five = model.sample(5, texts=["ant", "cat"])
        assert near(five, model.sample(5, texts=["ant", "cat", "ant", "cat", "ant"]))
        assert not near(five[1:2], model.sample(5, texts=["ant"])[1:2])
        assert near(model.sample(3, texts=[]), model.sample(3))
        assert near(model.sample(3, texts=[""]), model.sample(3))

    def test_the_order_of_words_is_told(self) -> None:
        model = model_of("words", CAPTIONS)
        one, two = (model.sample(2, texts=[text], sampling=Sampling(guidance=3)) for text in CAPTIONS)
        assert not near(one, two)

    def test_guidance_acts_in_its_interval_alone(self) -> None:
        model = model_of("class")
        told: dict[str, Any] = {"texts": ["bee"]}
        plain = model.sample(3, **told, sampling=Sampling(guidance=1))
        assert not near(plain, model.sample(3, **told, sampling=Sampling(guidance=4)))
        assert near(plain, model.sample(3, **told, sampling=Sampling(guidance=4, interval=(500.0, 600.0))))
        every = model.sample(3, **told, sampling=Sampling(guidance=4))
        assert near(every, model.sample(3, **told, sampling=Sampling(guidance=4, interval=(0.0, 1e9))))
        assert near(
            model.sample(3, sampling=Sampling(guidance=4)), model.sample(3)
        )  # nothing told, nothing to strengthen
        assert near(model.sample(3, **told, sampling=Sampling(guidance=0)), model.sample(3))

    def test_fresh_noise_on_the_way_where_it_is_asked_for(self) -> None:
        model = model_of()
        still = model.sample(3, sampling=Sampling(sampler="ddim"))
        assert near(still, model.sample(3, sampling=Sampling(sampler="euler")))
        assert not near(still, model.sample(3, sampling=Sampling(sampler="ddim", eta=0.5)))
        assert near(
            model.sample(3, sampling=Sampling(sampler="ddim", eta=1)),
            model.sample(3, sampling=Sampling(sampler="ddpm")),
        )
        assert not near(
            model.sample(3, sampling=Sampling(sampler="heun")),
            model.sample(3, sampling=Sampling(sampler="heun", churn=5)),
        )

    def test_clip_keeps_what_the_denoiser_says_in_range(self) -> None:
        model = model_of()
        assert not torch.equal(
            model.sample(3, sampling=Sampling(clip=True)), model.sample(3, sampling=Sampling(clip=False))
        )

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
        assert near(
            model.sample(3, sampling=Sampling(sampler=sampler), batch=2),
            model.sample(4, sampling=Sampling(sampler=sampler))[:3],
        )

    def test_the_callback_sees_every_step_of_every_batch(self) -> None:
        seen: list[tuple[int, int, int]] = []
        model_of().sample(
            5, batch=2, sampling=Sampling(steps=3), callback=lambda first, s: seen.append((first, s.index, len(s.x)))
        )
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
        ],
    )
    def test_settings(self, changes: dict[str, Any], reason: str) -> None:
        with pytest.raises(UserError, match=reason) as caught:
            model_of().sample(2, sampling=Sampling(**changes))
        assert "\n" not in str(caught.value)

    def test_more_steps_than_timesteps(self) -> None:
        model = model_of(noise={"schedule": "linear", "prediction": "epsilon", "timesteps": 10})
        assert len(model.sample(1, sampling=Sampling(steps=10))) == 1
        for use in (model.sample, model.film):
            with pytest.raises(UserError, match="between 1 and 10"):
                use(1, sampling=Sampling(steps=11))

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
            ({"stem": 4}, (3, 8, 8), "16 channels cannot carry the 48 numbers"),
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
        pictures, film = model.film(3, texts=["bee"], seed=5, sampling=Sampling(steps=6))
        assert near(pictures, model.sample(3, texts=["bee"], seed=5, sampling=Sampling(steps=6)))
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
        film = model.forward_film(ramp, seed=3, sampling=Sampling(steps=8))
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
        pictures, reverse = model.film(2, seed=7, sampling=Sampling(steps=5))
        forward = model.forward_film(pictures, seed=7, sampling=Sampling(steps=5))
        assert int((reverse.frames[0].int() - forward.frames[-1].int()).abs().max()) <= 2

    def test_captions_of_levels(self) -> None:
        path = schedule_of(Noise(schedule="scaled-linear-zero", prediction="v")).path(2)
        assert caption(path[0]) == "pure noise"
        assert caption(path[2]) == "sigma 0"


def test_a_preset_written_out_is_the_preset() -> None:
    for preset, config in PRESETS.items():
        net = concrete(Net.model_validate({"preset": preset, "dropout": 0.1}))
        assert tuple(net.channels or ()) == config.channels
        assert (net.blocks, tuple(net.attention or ()), net.stem) == (config.blocks, config.attention, config.stem)
        assert concrete(net) == net
    given = recipes.build({}, ["net.channels=[8,8]", "net.attention=[true,false]"]).net
    assert concrete(given).channels == (8, 8)
    assert concrete(given).attention == (True, False)
