"""The page of a verdict: everything is on it, nothing comes from elsewhere, and two models are compared in words."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sfumato import judge
from sfumato.cli import demo
from sfumato.judging import report
from sfumato.judging.features import open_features
from sfumato.judging.model import Judged
from sfumato.models.sampling import Sampling
from sfumato.pictures.drawn import shapes
from sfumato.runs.folder import RunFolder
from sfumato.show.report import Page, Section

from ..tiny import SIDE, model_of, recipe_of, small_features, train_run, write_pictures

HOSTILE = """<script>alert(1)</script>"'&amp;"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    return train_run(root / "ants", recipe_of(write_pictures(root / "pictures")), (64, 96))


@pytest.fixture(scope="module")
def found(run: Path) -> Judged:
    return judge(run, n=12, features=open_features(small_features), sampling=Sampling(steps=2), seed=5)


def with_fd(found: Judged, value: float, low: float, high: float, name: str = "") -> Judged:
    fd = replace(found.verdict.fd, value=value, low=low, high=high)
    changed = replace(found.model, name=name or found.model.name)
    return replace(found, verdict=replace(found.verdict, fd=fd), model=changed)


def pictures_of(page: Page) -> list[str]:
    return [picture.alt for section in page.sections for picture in section.pictures]


def no_strangers(text: str) -> None:
    """Nothing is fetched, nothing runs."""
    bare = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert "<script" not in bare
    assert not re.search(r"""(src|href|action)\s*=\s*["']?\s*(https?:|//)""", bare)
    assert not re.search(r"url\(|@import", bare)


def test_page_and_json_lie_together(found: Judged, tmp_path: Path) -> None:
    path = report.write(found, tmp_path / "deep" / "folder")
    assert path == tmp_path / "deep" / "folder" / "report.html"
    assert sorted(p.name for p in path.parent.iterdir()) == ["report.html", "report.json"]
    assert json.loads((path.parent / "report.json").read_text()) == json.loads(json.dumps(found.to_json()))
    text = path.read_text(encoding="utf-8")
    no_strangers(text)
    assert text.count("data:image/png;base64,") == 3
    seen = html.unescape(text)
    assert found.verdict.words() in seen
    assert f"{found.verdict.fd.value:.4g}" in seen
    assert f"{found.verdict.fd.low:.4g} to {found.verdict.fd.high:.4g}" in seen
    assert "--task generate -n 12 --features small_features --steps 2 --sampler dpm++2m --guidance 1 --seed 5" in seen
    assert "12 pictures drawn with dpm++2m in 2 evaluations each" in seen
    assert "48 training pictures and 12 held-out ones" in seen


def test_a_run_shows_how_it_learned(found: Judged, run: Path, tmp_path: Path) -> None:
    assert "loss over images seen" not in pictures_of(report.page(found))
    assert "loss over images seen" not in pictures_of(report.page(found, tmp_path))
    page = report.page(found, run)
    assert "loss over images seen" in pictures_of(page)
    section = next(section for section in page.sections if section.heading == "Training curves")
    assert section.prose == ["96 images seen."]


def test_a_log_of_a_start_alone(found: Judged, tmp_path: Path) -> None:
    RunFolder(tmp_path).log({"event": "start", "images": 0})
    assert "loss over images seen" in pictures_of(report.page(found, tmp_path))


@pytest.mark.parametrize(("alike", "tone"), [(0.0, "unclear"), (1.0, "bad")])
def test_the_tone_is_that_of_the_quality(found: Judged, alike: float, tone: str) -> None:
    fd = replace(found.verdict.fd, value=found.verdict.fd.floor, low=0.0)
    memorised = replace(found.verdict.memorised, level="none")
    verdict = replace(found.verdict, fd=fd, recall=0.5, alike=alike, memorised=memorised)
    page = report.page(replace(found, verdict=verdict))
    assert page.tone == tone == verdict.quality.tone
    assert page.verdict.startswith(verdict.quality.reason)


def test_the_chance_of_real_pictures_is_the_measured_one(found: Judged) -> None:
    memorised = replace(found.verdict.memorised, chance=0.123)
    section = report.copies_section(replace(found, verdict=replace(found.verdict, memorised=memorised)))
    assert section.facts[0].note.endswith("of real pictures 12.3%")


def test_hostile_names_stay_text(found: Judged, tmp_path: Path) -> None:
    recipe = found.model.recipe.model_copy(update={"about": HOSTILE})
    hostile = replace(found, model=replace(found.model, name=HOSTILE, recipe=recipe))
    paths = [report.write(hostile, tmp_path), report.write_comparison(hostile, hostile, ("a", "b"), tmp_path)]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        no_strangers(text)
        assert html.unescape(text).count(HOSTILE) >= 3
    assert json.loads((tmp_path / "report.json").read_text())["model"] == HOSTILE


def test_the_suspicious_pairs_are_shown(found: Judged) -> None:
    section = report.copies_section(found)
    assert section.prose[0] == found.verdict.memorised.verdict
    image: Any = section.pictures[0].image
    pairs = found.verdict.memorised.pairs
    assert len(pairs) == 8
    height = image.height
    for columns in range(1, len(pairs)):
        fewer = replace(found.verdict.memorised, pairs=pairs[:columns])
        smaller: Any = report.copies_section(
            replace(found, verdict=replace(found.verdict, memorised=fewer))
        ).pictures[0].image  # fmt: skip
        assert smaller.width == image.width
        assert smaller.height < height


def test_few_samples_and_grey_pictures(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "grey", count=12, grey=True)
    model = replace(model_of("class", shape=(1, SIDE, SIDE)), recipe=recipe_of(folder))
    found = judge(model, n=4, features=open_features(small_features), sampling=Sampling(steps=1))
    no_strangers(report.write(found, tmp_path / "a").read_text())
    path = report.write_comparison(found, found, ("x", "y"), tmp_path / "b")
    no_strangers(path.read_text())
    assert "not known" in path.read_text()


def test_two_models_side_by_side(found: Judged, run: Path, tmp_path: Path) -> None:
    better = with_fd(found, 2.0, 1.5, 2.5, "better")
    worse = with_fd(found, 9.0, 8.0, 10.0, "worse")
    path = report.write_comparison(better, worse, (str(run), str(tmp_path / "gone")), tmp_path)
    value = json.loads((tmp_path / "compare.json").read_text())
    assert value.keys() == {"a", "b", "verdict"}
    assert (value["a"]["model"], value["b"]["model"]) == ("better", "worse")
    text = html.unescape(path.read_text(encoding="utf-8"))
    no_strangers(text)
    assert value["verdict"] in text
    assert "2 (1.5 to 2.5)" in text
    assert "9 (8 to 10)" in text
    assert "not known" in text
    assert re.search(r"images seen.*?>96<", text, re.S)
    assert "held-out loss" in text


@pytest.mark.parametrize(
    ("a", "b", "start"),
    [
        ((2, 1, 3), (5, 4, 6), r"one is better: FD \(small_features features\) 2 against 5"),
        ((5, 4, 6), (2, 1, 3), r"two is better: FD \(small_features features\) 2 against 5"),
        ((2, 1, 4), (5, 3, 6), "Too close to call: .* 2 and 5, with intervals that overlap"),
        ((2, 1, 3), (5, 3, 6), "Too close to call"),
        ((5, 3, 6), (2, 1, 3), "Too close to call"),
    ],
)
def test_better_only_if_the_intervals_do_not_touch(
    found: Judged, a: tuple[float, float, float], b: tuple[float, float, float], start: str
) -> None:
    assert re.match(start, report.words_of(with_fd(found, *a, "one"), with_fd(found, *b, "two")))


def test_two_runs_of_one_name_are_told_apart(found: Judged) -> None:
    words = report.words_of(with_fd(found, 2, 1, 3), with_fd(found, 5, 4, 6))
    assert words.startswith("ants (A) is better")


def test_the_page_of_the_demo(tmp_path: Path) -> None:
    """Written from a model that was never trained: words, film and figures are all on it."""
    folder = write_pictures(tmp_path / "pictures", count=24)
    captions = tuple(shapes.captions(held_out=False))
    made = model_of("words", captions, (3, SIDE, SIDE))
    model = replace(made, recipe=recipe_of(folder, "none"))
    untold = replace(model, vocabulary=replace(made.vocabulary, kind="none"))
    assert all(made.vocabulary.encode([shapes.caption(*asked)]).all() for asked in demo.CAPTIONS)
    found = judge(untold, n=6, features=open_features(small_features), sampling=Sampling(steps=1))
    RunFolder(tmp_path).log({"event": "report", "images": 64, "loss": 0.5})
    path = demo.write(replace(found, model=model), [Section("Denoise a photo")], tmp_path, 12.3)
    text = path.read_text(encoding="utf-8")
    no_strangers(text)
    assert "data:image/gif;base64," in text
    assert text.count("data:image/png;base64,") >= 5
    assert "in 12 seconds" in text
    assert {"film.gif", "film.png", "demo.html"} <= {p.name for p in tmp_path.iterdir()}
    assert torch.equal(found.samples, untold.sample(6, sampling=Sampling(steps=1)))
