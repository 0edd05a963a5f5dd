"""From photos to a proven LoRA by one command, and the folder it leaves as a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from sfumato.cli import app
from sfumato.errors import UserError
from sfumato.judging.stats import Interval
from sfumato.lora.adapter import Shape, attach, without
from sfumato.models.sd import pipeline as pipelines
from sfumato.recipe.sections import Tune
from sfumato.runs.folder import RunFolder
from sfumato.runs.survey import written
from sfumato.tuning import finish as finishing
from sfumato.tuning.job import TuneJob
from sfumato.tuning.score.choose import Candidate, choose, shortlist
from sfumato.tuning.score.score import Effort, Judge, Nearness, Score
from sfumato.zoo import load

from .conftest import base, stirred
from .test_photos import scene


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("tuned")
    for k in range(6):
        (root / "photos").mkdir(exist_ok=True)
        scene(k, (40, 40)).save(root / "photos" / f"{k}.png")
    pipelines.write(base(), root / "base", half=False)
    words = ["tune", str(root / "photos"), "--noun", "car", "--base", str(root / "base"), "--rank", "4",
             "--trigger", "zarnu", "--out", str(root / "car"), "train.images=48", "train.batch=4", "train.lr=1e-2",
             "train.warmup=0", "--json"]  # fmt: skip
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return root / "car", json.loads(done.stdout)


def test_the_folder_holds_all_that_was_promised(tuned: tuple[Path, dict[str, Any]]) -> None:
    folder, told = tuned
    for name in ("adapter_config.json", "adapter_model.safetensors", "car.safetensors", "card.json", "README.md",
                 "report.html", "report.json", "verified.json", "recipe.yaml", "log.jsonl"):  # fmt: skip
        assert (folder / name).is_file(), name
    assert told["thing"] == "zarnu car"
    assert told["choice"]["step"] in range(1, 13)
    assert 1 <= len(told["choice"]["scores"]) <= 3
    assert max(value for name, value in told["verified"].items() if name != "effect") < 1e-3
    assert told["next"]
    assert {path for path in folder.iterdir() if path.is_file()} <= {
        *(folder / "recipe.yaml", folder / ".lock"), *written(folder, RunFolder(folder).recipe()),
    }  # fmt: skip


def test_a_dry_run_says_what_it_would_take_and_leaves_nothing(tuned: tuple[Path, dict[str, Any]]) -> None:
    root = tuned[0].parent
    words = ["tune", str(root / "photos"), "--noun", "car", "--base", str(root / "base"), "--rank", "4",
             "--trigger", "zarnu", "--out", str(root / "dry"), "--dry-run", "--json"]  # fmt: skip
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    told = json.loads(done.stdout)
    assert len(told["photos"]) == 6
    assert told["estimate"]["seconds"] > 0
    assert not (root / "dry").exists()


def test_the_folder_is_a_model_and_so_are_its_checkpoints(tuned: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = tuned
    plain = load(folder.parent / "base", precision="fp32").sample(1, texts=["a zarnu car"])
    whole = load(folder, precision="fp32")
    assert whole.name == "car"
    drawn = whole.sample(1, texts=["a zarnu car"])
    assert not torch.equal(drawn, plain)
    steps = sorted((folder / "checkpoints").iterdir())
    assert len(steps) == 12
    assert not torch.equal(load(steps[0], precision="fp32").sample(1, texts=["a zarnu car"]), drawn)


def judge_of(model: Any) -> Judge:
    generator = torch.Generator().manual_seed(3)
    photos = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=generator)
    return Judge(model, lambda: without(model.net), photos, "zarnu car", "car", "photos", Effort(2, 2))


def test_an_adapter_without_effect_is_the_base() -> None:
    model: Any = base()
    attach(model.net, Shape(rank=4))
    judge = judge_of(model)
    judge.prompts = judge.plain
    score, drawn, near = judge.score(100)
    assert near.shape == (len(drawn), 4)
    assert torch.equal(drawn, judge.before)
    assert score.drift.value == 0
    assert score.fidelity.value == pytest.approx(1)
    assert score.likeness.value < 0.05
    assert score.diversity == pytest.approx(1)
    stirred(model.net)
    score, _, _ = judge.score(200)
    assert score.drift.value > 0.01


def test_likeness_runs_from_the_bases_own_pictures_to_the_photos() -> None:
    generator = torch.Generator().manual_seed(0)
    thing, strangers = torch.randn(64, generator=generator), torch.randn(6, 64, generator=generator)
    photos = thing + 0.3 * torch.randn(6, 64, generator=generator)
    found = Nearness(photos, strangers)
    assert torch.allclose(found.near(photos).diagonal(), torch.ones(6), atol=1e-5)
    new = thing + 0.3 * torch.randn(50, 64, generator=generator)
    assert found.share(new).mean() == pytest.approx(1, abs=0.15)
    assert found.share(strangers).max() < 0
    assert found.repeats(found.near(photos + 0.01)).all()
    assert not found.repeats(found.near(new + strangers[0] / 2)).any()
    assert 0 < found.share(new + strangers[0] / 2).mean() < 0.8


def test_one_photo_alone_is_as_like_as_can_be() -> None:
    photo, strangers = torch.randn(1, 64, generator=torch.Generator().manual_seed(0)), torch.eye(64)[:5]
    assert float(Nearness(photo, strangers).share(photo)) == pytest.approx(1, abs=1e-5)


def score_of(step: int, total: float, width: float = 0.01) -> Score:
    m = Interval(total, total - width, total + width)
    return Score(step, m, m, m, 0.0, 1.0, m)


def test_the_shortlist_leaves_out_what_has_not_learned_yet() -> None:
    candidates = [
        Candidate(step, loss, 0.0)
        for step, loss in zip(range(50, 450, 50), (9, 5, 2.5, 1, 1.2, 2, 2.6, 3), strict=True)
    ]
    assert shortlist(candidates) == [200, 300, 400]
    assert shortlist(candidates[:1]) == [50]
    assert shortlist([]) == []


def test_the_best_is_chosen_and_what_is_as_good_is_named() -> None:
    candidates = [Candidate(step, 1.0, 0.0) for step in (100, 200, 300)]
    totals = {100: 0.3, 200: 0.8, 300: 0.7}
    clear = choose(candidates, lambda step: score_of(step, totals[step]))
    assert (clear.step, clear.close) == (200, ())
    unclear = choose(candidates, lambda step: score_of(step, totals[step], 0.2))
    assert (unclear.step, unclear.close) == (300, (200,))
    assert "step 200 is too close to call" in unclear.reason
    alone = choose(candidates[:1], lambda step: score_of(step, 0.1))
    assert alone.step == 100


def test_presets(tmp_path: Path) -> None:
    from sfumato.recipe.recipe import load as recipe

    seed, ours = recipe("seed-tune"), recipe("tune")
    assert (seed.tune.rank, seed.tune.alpha, seed.tune.dropout, seed.tune.feed_forward) == (16, 16, 0.1, False)
    assert (seed.train.images, seed.train.batch, seed.tune.prior) == (400, 1, 0)
    assert isinstance(ours.tune, Tune)
    assert ours.noise.weighting == "min-snr-5"
    done = CliRunner().invoke(app, ["tune", str(tmp_path), "--noun", "car", "--preset", "best"])
    assert "choose one of default, mini, sd, seed" in str(done.exception)
    done = CliRunner().invoke(app, ["train", "tune", "--out", str(tmp_path / "run")])
    assert "use `sfumato tune FOLDER --noun WORD`" in str(done.exception)


@pytest.mark.slow
def test_the_seeds_preset_proves_itself(tuned: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Its dropout is for training alone."""
    root = tuned[0].parent
    words = ["tune", str(root / "photos"), "--noun", "car", "--base", str(root / "base"), "--preset", "seed",
             "--steps", "12", "--out", str(tmp_path / "car"), "train.lr=1e-2", "train.batch=2"]  # fmt: skip
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    told = json.loads((tmp_path / "car" / "report.json").read_text())
    assert told["choice"]["step"] == 12
    assert told["verified"]["kohya"] < 1e-3
    assert [p.name for p in (tmp_path / "car" / "checkpoints").iterdir()] == ["000000024"]


def test_other_files_are_left_alone(tuned: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match="contains other files"):
        TuneJob(tuned[0].parent / "photos", "car", str(tuned[0].parent / "base"), out=tmp_path).run()
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.slow
def test_what_does_not_prove_itself_is_not_there(
    tuned: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any) -> None:
        raise UserError("files are not right")

    monkeypatch.setattr(finishing, "verify", wrong)
    root = tuned[0].parent
    job = TuneJob(root / "photos", "car", str(root / "base"), "default", 2, ["train.lr=1e-2"], tmp_path / "car")
    with pytest.raises(UserError, match="files are not right"):
        job.run()
    assert not list((tmp_path / "car").rglob("*adapter*"))
    assert not (tmp_path / "car" / finishing.UNPROVEN).exists()
