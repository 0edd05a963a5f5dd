"""The whole verdict: real pictures pass, copies and rubbish do not, and its JSON keeps its keys."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato.errors import UserError
from sfumato.judging import generate
from sfumato.judging.features import Features, open_features
from sfumato.judging.generate import GenerateVerdict, judge_generated
from sfumato.progress import Event, Phase, phases


@dataclass(frozen=True)
class Pictures:
    pixels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)


class Painter:
    """Blobs of colour on a ground: pictures with a few degrees of freedom, different for every seed."""

    def __init__(self, side: int = 16) -> None:
        self.side = side

    def __call__(self, n: int, seed: int) -> Pictures:
        rng = np.random.default_rng(seed)
        grid = np.linspace(-1, 1, self.side)
        x, y = rng.uniform(-0.7, 0.7, (2, n, 1, 1))
        width = rng.uniform(0.2, 0.6, (n, 1, 1))
        mask = np.exp(-((grid[None, None, :] - x) ** 2 + (grid[None, :, None] - y) ** 2) / width**2)[:, None]
        ink, ground = rng.uniform(0, 255, (2, n, 3, 1, 1))
        return Pictures(torch.from_numpy((mask * ink + (1 - mask) * ground).round().astype(np.uint8)))


@pytest.fixture
def paint() -> Painter:
    return Painter()


def small(x: Tensor) -> Tensor:
    """27 features: the picture at 3 x 3."""
    return F.adaptive_avg_pool2d(x.float() / 25 - 5, 3).flatten(1)


@pytest.fixture
def features() -> Features:
    return open_features(small)


def verdict(
    samples: Tensor, train: Pictures, held_out: Pictures, features: Features, **options: object
) -> GenerateVerdict:
    return judge_generated(samples, train, held_out, features, **options)  # type: ignore[arg-type]


@pytest.fixture
def sets(paint: Painter) -> tuple[Pictures, Pictures]:
    return paint(1500, 1), paint(400, 2)


def test_fresh_pictures_of_the_same_kind_pass(
    paint: Painter, sets: tuple[Pictures, Pictures], features: Features
) -> None:
    found = verdict(paint(400, 3).pixels, *sets, features)
    assert found.fd.value < 2 * found.fd.floor
    assert abs(found.kid) < 4 * found.kid_error
    assert found.precision > 0.8
    assert found.recall > 0.8
    assert found.memorised.level == "none"
    assert found.notes == ()
    assert (found.n, found.reference_n, found.fd.floor_n, found.features) == (400, 1500, 400, "small")


def test_copies_score_well_and_are_caught(sets: tuple[Pictures, Pictures], features: Features) -> None:
    train, held_out = sets
    found = verdict(train.pixels[:400].flip(0), train, held_out, features)
    assert found.fd.value < 1.5 * found.fd.floor
    assert found.memorised.level == "strong"
    assert found.memorised.copies > 0.9
    assert found.to_json()["memorised"] == found.memorised.copies
    assert [pair.train for pair in found.memorised.pairs] == [399 - pair.sample for pair in found.memorised.pairs]
    assert "repeats its training pictures" in found.words()


def test_noise_scores_badly(sets: tuple[Pictures, Pictures], features: Features) -> None:
    noise = torch.randint(0, 256, (200, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = verdict(noise, *sets, features)
    assert found.fd.low > 10 * found.fd.floor
    assert found.kid > 5 * found.kid_error
    assert found.recall < 0.05


def test_json_keys_and_words(sets: tuple[Pictures, Pictures], features: Features) -> None:
    train, held_out = sets
    found = verdict(train.pixels[:50], train, Pictures(held_out.pixels[:20]), features)
    read = json.loads(json.dumps(found.to_json()))
    assert {"value", "low", "high", "floor"} <= set(read["fd"])
    assert {"fd", "kid", "precision", "recall", "memorised", "features", "n"} <= set(read)
    assert all(isinstance(read[key], float) for key in ("kid", "precision", "recall", "memorised"))
    assert read["memorisation"]["pairs"][0].keys() >= {"sample", "train", "distance", "held_out_distance"}
    words = found.words()
    assert words.startswith(read["quality"]["reason"])
    assert "FD (small features) " in words
    assert read["quality"]["tone"] == "bad"
    assert read["fd"]["scale"] > read["fd"]["floor"]
    assert read["alike"] < 0.1
    assert "on 50 samples" in words
    assert "The floor is from all 20 held-out pictures" in words
    assert "50 pictures are few for 27 features" in words
    assert "\n" not in words


def test_the_same_seed_gives_the_same_figures(sets: tuple[Pictures, Pictures], features: Features) -> None:
    train, held_out = sets
    one, two = (verdict(held_out.pixels[:60], train, held_out, features, seed=4) for _ in range(2))
    assert one == two


def test_more_samples_than_training_pictures(paint: Painter, features: Features) -> None:
    found = verdict(paint(300, 1).pixels, paint(100, 2), paint(10, 3), features)
    assert (found.n, found.reference_n, found.fd.floor_n) == (300, 100, 10)
    assert any("compare 100 with 100" in note for note in found.notes)


def test_a_large_training_set_is_sampled_and_pairs_keep_its_indices(
    sets: tuple[Pictures, Pictures], features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "MOST", 700)
    train, held_out = sets
    found = verdict(train.pixels, train, held_out, features)
    assert found.reference_n == 700
    assert all(pair.train == pair.sample for pair in found.memorised.pairs)


def test_features_of_the_store_are_kept(
    sets: tuple[Pictures, Pictures], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path))
    counts: list[int] = []

    def counted(x: Tensor) -> Tensor:
        counts.append(len(x))
        return small(x)

    features = Features("counted", counted, digest="weights-1", batch=5000)
    train, held_out = sets
    samples = held_out.pixels[:50]
    first = verdict(samples, train, held_out, features, digest="store-1")
    assert counts == [1, 50, 1500, 400]
    assert verdict(samples, train, held_out, features, digest="store-1") == first
    assert counts[4:] == [50]
    verdict(samples, train, held_out, features, digest="store-2")
    features.digest = "weights-2"
    verdict(samples, train, held_out, features, digest="store-2")
    assert counts[5:] == [50, 1500, 400] * 2
    for path in (tmp_path / "features").iterdir():
        path.write_bytes(path.read_bytes()[:-7])
    assert verdict(samples, train, held_out, features, digest="store-1") == first


def test_progress_names_its_stages(sets: tuple[Pictures, Pictures], features: Features) -> None:
    train, held_out = sets
    seen: list[Event] = []
    verdict(train.pixels[:120], train, held_out, features, tell=phases(seen.append))
    assert {event.what for event in seen if isinstance(event, Phase)} == {
        "samples",
        "training pictures",
        "held-out pictures",
        "distances and copies",
    }
    assert seen[1] == Phase("samples", 120, 120)


@pytest.mark.parametrize(
    ("n", "m", "h", "wanted"),
    [(3, 9, 9, "3 samples"), (9, 3, 9, "3 training pictures"), (9, 9, 1, "1 held-out pictures")],
)
def test_too_few_pictures(paint: Painter, features: Features, n: int, m: int, h: int, wanted: str) -> None:
    with pytest.raises(UserError, match=wanted):
        verdict(paint(n, 1).pixels, paint(m, 2), paint(h, 3), features)


def test_other_shapes(paint: Painter, features: Features) -> None:
    with pytest.raises(UserError, match="same shape"):
        verdict(Painter(8)(9, 1).pixels, paint(9, 2), paint(9, 3), features)


def test_the_smallest_sets_that_are_accepted(paint: Painter, features: Features) -> None:
    found = verdict(paint(4, 1).pixels, paint(4, 2), paint(2, 3), features)
    assert np.isfinite([found.fd.value, found.kid, found.precision, found.memorised.copies]).all()
    assert found.memorised.level == "unknown"


def noise(n: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def collapsed(paint: Painter, n: int, kinds: int) -> Tensor:
    """n pictures that are `kinds` pictures with a little noise."""
    few = paint(kinds, 9).pixels.float().repeat(-(-n // kinds), 1, 1, 1)[:n]
    return (few + (noise(n).float() - 128) / 20).round().clamp(0, 255).byte()


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("sixteen grey squares", "The model has collapsed: 100% of its samples are nearly alike"),
        ("noise", "The samples are far from the training pictures|The model has collapsed"),
        ("sixteen of noise", "The model has collapsed|The samples are far"),
        ("one picture", "The model has collapsed"),
        ("four pictures", "The model has collapsed"),
        ("copies", "The samples copy training pictures"),
    ],
)
def test_what_is_wrong_is_red_and_comes_first(
    paint: Painter, sets: tuple[Pictures, Pictures], features: Features, kind: str, first: str
) -> None:
    samples = {
        "sixteen grey squares": torch.full((16, 3, 16, 16), 128, dtype=torch.uint8),
        "noise": noise(200),
        "sixteen of noise": noise(16),
        "one picture": collapsed(paint, 200, 1),
        "four pictures": collapsed(paint, 200, 4),
        "copies": sets[0].pixels[:200],
    }[kind]
    found = verdict(samples, *sets, features)
    assert found.quality.tone == "bad"
    assert re.match(first, found.words())
    if kind != "copies":
        assert "precision" not in found.words()


def test_real_pictures_are_green_and_a_distance_below_its_floor_is_not_the_first_sentence(
    paint: Painter, sets: tuple[Pictures, Pictures], features: Features
) -> None:
    found = verdict(paint(400, 3).pixels, *sets, features)
    assert found.quality.tone == "good"
    lower = replace(found, fd=replace(found.fd, value=0.9 * found.fd.floor, low=0.5 * found.fd.floor))
    assert lower.words().startswith("With 400 samples they cannot be told from real pictures")
    assert found.words().count("precision") == 1


def test_few_samples_are_not_praised(paint: Painter, sets: tuple[Pictures, Pictures], features: Features) -> None:
    found = verdict(paint(16, 3).pixels, *sets, features)
    assert found.quality.tone == "unclear"
    assert "too few" in found.quality.reason or "chance" in found.quality.reason
    assert "precision" not in found.words()


@pytest.mark.parametrize(
    ("changes", "tone", "first"),
    [
        ({"recall": 0.0}, "bad", "Variety is missing"),
        ({"recall": 0.1}, "unclear", "Variety is low"),
        ({"alike": 0.2}, "unclear", "Variety is low"),
        ({"alike": 0.6}, "bad", "The model has collapsed"),
        ({"far": 0.3}, "unclear", "The samples are at some distance"),
        ({"far": 0.7}, "bad", "The samples are far"),
        ({"level": "some"}, "unclear", "Some samples copy"),
        ({"level": "strong"}, "bad", "The samples copy"),
        ({"level": "unknown"}, "unclear", "The samples are close to real pictures, but copies"),
        ({"level": "strong", "recall": 0.0}, "bad", "Variety is missing"),
    ],
)
def test_quality_comes_before_copies(
    paint: Painter, sets: tuple[Pictures, Pictures], features: Features, changes: dict[str, float | str], tone: str,
    first: str,
) -> None:  # fmt: skip
    found = verdict(paint(400, 3).pixels, *sets, features)
    fd, memorised = found.fd, replace(found.memorised, level=changes.pop("level", "none"))
    if far := changes.pop("far", 0):
        value = fd.floor + float(far) * fd.scale
        fd = replace(fd, value=value, low=0.95 * value, high=1.05 * value)
    found = replace(found, fd=fd, memorised=memorised, **changes)
    assert (found.quality.tone, found.words()[: len(first)]) == (tone, first)
