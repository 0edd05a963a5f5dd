"""The verb judge: what is drawn, what it is set against, and that two models meet on equal terms."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sfumato import compare, judge, registry
from sfumato.errors import UserError
from sfumato.judging.features import Features, open_features
from sfumato.judging.model import representative_texts
from sfumato.models.pixel import PixelModel
from sfumato.models.sampling import Sampling
from sfumato.pictures.store import open_store
from sfumato.pictures.stored import Pictures
from sfumato.progress import Event, Phase

from ..tiny import LABELS, SIDE, model_of, recipe_of, small_features, train_run, write_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def features() -> Features:
    return open_features(small_features)


def model(folder: Path, condition: str = "class", **sections: Any) -> PixelModel:
    """A model that was never trained, for the pictures of a folder."""
    made = model_of(condition, ("a red square on a blue background", *LABELS), (3, SIDE, SIDE))
    return replace(made, recipe=recipe_of(folder, condition, **sections))


class Sampled(PixelModel):
    """A model whose samples are given."""

    def sample(self, n: int = 16, **options: Any) -> Tensor:
        return self.facts["samples"][:n]


def test_a_model_is_judged_on_its_own_data(folder: Path, features: Features) -> None:
    found = judge(model(folder), n=10, features=features, seed=3, sampling=Sampling(steps=2))
    assert found.samples.shape == (10, 3, SIDE, SIDE)
    store = open_store(recipe_of(folder).data)
    assert found.store.digest == store.digest
    assert found.verdict.n == 10
    assert found.verdict.reference_n == len(store.train) == 48
    assert found.verdict.features == "small_features"
    assert found.settings | {"sampler": "", "guidance": 0} == {
        **{"sampler": "", "steps": 2, "guidance": 0, "rescale": 0, "interval": None, "clip": True},
        **{"eta": 0, "churn": 0, "evaluations": 2, "seed": 3},
    }
    assert found.seconds > 0
    assert found.similarity is None
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert value["cost"]["ms_per_picture"] == pytest.approx(100 * found.seconds)
    assert "clip_similarity" not in value


def test_the_samples_are_those_the_model_draws(folder: Path, features: Features) -> None:
    ours = model(folder)
    found = judge(ours, n=7, features=features, seed=5, sampling=Sampling(sampler="ddim", steps=3))
    texts = representative_texts(ours, found.store.train, 7, 5)
    assert torch.equal(found.samples, ours.sample(7, texts=texts, seed=5, sampling=Sampling(sampler="ddim", steps=3)))
    again = judge(ours, n=7, features=features, seed=5, sampling=Sampling(sampler="ddim", steps=3))
    assert again.verdict == found.verdict
    assert (
        judge(ours, n=7, features=features, seed=6, sampling=Sampling(sampler="ddim", steps=3)).verdict != found.verdict
    )


def test_heun_costs_twice(folder: Path, features: Features) -> None:
    assert (
        judge(model(folder), n=4, features=features, sampling=Sampling(sampler="heun", steps=4)).settings["evaluations"]
        == 7
    )


@pytest.mark.parametrize(("asked", "n"), [(9, 9), (1000, 48)])
def test_how_many_if_nobody_says(folder: Path, features: Features, asked: int, n: int) -> None:
    found = judge(model(folder, judge={"n": asked}), features=features, sampling=Sampling(steps=1))
    assert found.verdict.n == len(found.samples) == n


def test_conditions_come_as_often_as_in_the_data(folder: Path) -> None:
    train = open_store(recipe_of(folder).data).train
    ours = model(folder)
    counts = Counter(train.texts("class"))
    assert representative_texts(model(folder, "none"), train, 5, 0) is None
    for seed in range(3):
        assert Counter(representative_texts(ours, train, len(train), seed) or []) == counts
        assert Counter(representative_texts(ours, train, 3 * len(train), seed) or []) == {
            key: 3 * v for key, v in counts.items()
        }
    assert (
        representative_texts(ours, train, 48, 0)
        == representative_texts(ours, train, 48, 0)
        != representative_texts(ours, train, 48, 1)
    )
    assert representative_texts(ours, train, 48, 0) != sorted(representative_texts(ours, train, 48, 0) or [])
    assert representative_texts(model(folder, "words"), train, 60, 0) == [
        *(first := representative_texts(model(folder, "words"), train, 48, 0) or []),
        *first[:12],
    ]
    assert set(first) == set(model(folder, "words").vocabulary.encodable(train.captions or []))


def test_pictures_without_a_label_are_drawn_untold(folder: Path) -> None:
    pictures = Pictures(
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([-1, 1]), ["ant", "bee"], None, ["a", "b"]
    )
    assert sorted(representative_texts(model(folder), pictures, 2, 0) or []) == ["", "bee"]


def test_copies_and_noise_are_told_apart(folder: Path, features: Features) -> None:
    train = open_store(recipe_of(folder).data).train.pixels.clone()
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.integers(0, 256, train.shape, dtype=np.uint8))
    base = model(folder)
    found = {}
    for name, samples in {"copies": train, "noise": noise}.items():
        ours = Sampled(**{**vars(base), "name": name, "facts": {"samples": samples}})
        found[name] = judge(ours, n=48, features=features).verdict
    copies, rubbish = found["copies"], found["noise"]
    assert copies.memorised.copies > 0.5
    assert copies.fd.value < 0.01 * rubbish.fd.value
    assert copies.precision == copies.recall == 1
    assert rubbish.precision < 0.2
    assert rubbish.memorised.copies < 0.1
    assert [pair.sample for pair in copies.memorised.pairs] == [pair.train for pair in copies.memorised.pairs]


def test_progress_ends_where_it_should(tmp_path: Path, features: Features) -> None:
    folder = write_pictures(tmp_path)  # which nothing remembers
    events: list[Event] = []
    judge(model(folder), n=10, features=features, sampling=Sampling(steps=3), progress=events.append)
    seen = [(event.what, event.done, event.total) for event in events if isinstance(event, Phase)]
    sampling = [(done, total) for what, done, total in seen if what == "sampling"]
    assert sampling == [(10, 30), (20, 30), (30, 30)]
    stages = {"pictures", "sampling", "samples", "training pictures", "held-out pictures", "distances and copies"}
    assert {what for what, _, _ in seen} == stages
    assert all(0 < done <= total for _, done, total in seen)


def test_a_callable_or_its_features(folder: Path, features: Features) -> None:
    for given in (features, small_features):
        drawn = judge(model(folder), n=4, features=given, sampling=Sampling(steps=1))  # type: ignore[arg-type]
        assert drawn.verdict.features == "small_features"
    with pytest.raises(UserError, match="no features named 'maxi'; choose one of mini, inception"):
        judge(model(folder), n=4, features="maxi", sampling=Sampling(steps=1))


@pytest.mark.parametrize("n", [1, 3])
def test_too_few(folder: Path, features: Features, n: int) -> None:
    with pytest.raises(UserError, match=f"n={n}: at least 4 are needed"):
        judge(model(folder), n=n, features=features, sampling=Sampling(steps=1))


def test_data_of_another_kind(folder: Path, features: Features, tmp_path: Path) -> None:
    grey = write_pictures(tmp_path / "grey", grey=True)
    with pytest.raises(UserError, match=r"draws \(3, 16, 16\) but the data is \(1, 16, 16\)"):
        judge(model(folder), n=4, features=features, data=str(grey))
    with pytest.raises(UserError, match="no folder nowhere"):
        judge(model(folder), n=4, features=features, data="nowhere")
    other = write_pictures(tmp_path / "other", count=30)
    assert (
        judge(model(folder), n=4, features=features, data=str(other), sampling=Sampling(steps=1)).verdict.reference_n
        == 24
    )


def test_bad_settings_are_found_before_anything_is_drawn(folder: Path) -> None:
    def never(x: Tensor) -> Tensor:
        assert len(x) == 1, "features of samples were taken"
        return small_features(x)

    for change in ({"steps": 0}, {"sampler": "x"}, {"guidance": float("nan")}, {"interval": (1.0,)}):
        with pytest.raises(UserError, match=f"sample.{next(iter(change))}"):
            judge(model(folder), n=4, features=open_features(never), sampling=Sampling(**change))


def test_two_models_meet_on_the_first_ones_data(tmp_path: Path, features: Features) -> None:
    first, second = (write_pictures(tmp_path / name, count) for name, count in (("one", 30), ("two", 40)))
    a = train_run(tmp_path / "a", recipe_of(first, train={"images": 32}), (32,))
    b = train_run(tmp_path / "b", recipe_of(second, train={"images": 32, "seed": 1}), (32,))
    left, right = compare(a, b, n=8, features=features, sampling=Sampling(steps=2), seed=9)
    assert left.store.digest == right.store.digest
    assert left.settings == right.settings
    assert not torch.equal(left.samples, right.samples)
    assert (
        compare(a, b, n=8, features=features, sampling=Sampling(steps=2), data=str(second))[0].verdict.reference_n == 32
    )
    small = train_run(tmp_path / "c", recipe_of(second, train={"images": 32}, judge={"n": 6}), (32,))
    assert [each.verdict.n for each in compare(a, small, features=features, sampling=Sampling(steps=2))] == [6, 6]
    same = compare(a, a, n=8, features=features, sampling=Sampling(steps=2), seed=9)
    assert torch.equal(same[0].samples, same[1].samples)
    assert same[0].verdict == same[1].verdict == left.verdict


class Never(PixelModel):
    """A model that draws nothing."""

    def sample(self, n: int = 16, **options: Any) -> Tensor:
        raise AssertionError("something was drawn")


def never(folder: Path, **sections: Any) -> Never:
    return Never(**vars(model(folder, **sections)))


def two_arguments(samples: np.ndarray, others: np.ndarray) -> float:
    return float(len(samples) / len(others))


def test_metrics_that_do_not_work_are_errors_before_anything_is_drawn(
    folder: Path, features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"no metric named 'coverag'; did you mean coverage\?"):
        judge(never(folder), features=features, metrics=["coverag"])
    monkeypatch.setattr(registry, "_trusted", set())
    with pytest.raises(UserError, match="the metric nowhere:far is code of another package"):
        judge(never(folder, judge={"metrics": ["nowhere:far"]}), features=features)
    monkeypatch.setitem(registry._things, "metric", {"half": two_arguments})
    with pytest.raises(UserError, match=r"the metric half does not work as one .*'others'"):
        judge(never(folder), features=features, metrics=["half"])


def test_too_few_pictures_are_an_error_before_anything_is_drawn(folder: Path, features: Features) -> None:
    with pytest.raises(UserError, match="2 samples are too few"):
        judge(never(folder, judge={"n": 2}), features=features)


def test_the_second_model_is_checked_before_the_first_draws(folder: Path, features: Features) -> None:
    cleaner = replace(model(folder), task="denoise")
    with pytest.raises(UserError, match="was trained to denoise pictures"):
        compare(never(folder), cleaner, features=features)
