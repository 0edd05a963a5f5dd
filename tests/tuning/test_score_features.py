"""What pictures are seen with: the base, or DINOv2 and CLIP where their weights are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sfumato.judging import weights
from sfumato.judging.crisp import true_drawings
from sfumato.judging.features import CLIP, DINOV2, clip_table, open_features
from sfumato.tuning.score.features import ScoreFeatures, are_photos
from sfumato.tuning.score.score import Effort, Judge

from ..judging import standins
from .conftest import base

DREAMBOOTH = Path(os.environ.get("SFUMATO_DATA", "nowhere")) / "dreambooth"
PROMPTS = ["a cat", "a a", "a cat cat"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SFUMATO_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def pictures() -> Tensor:
    return torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_base_looks_where_nothing_else_is_at_hand(pictures: Tensor) -> None:
    features = ScoreFeatures(base())
    assert features.name == "the base"
    assert features.places(pictures).shape[0] == 6
    assert torch.allclose(features.places(pictures)[2:4], features.places(pictures[2:4]), atol=1e-4)
    known = features.recognised(pictures, PROMPTS)
    assert known.shape == (6,)
    assert ((known >= 0) & (known <= 1)).all()


def test_dinov2_and_clip_are_asked_where_they_are_at_hand(home: Path, pictures: Tensor) -> None:
    folder, _ = standins.dinov2(home)
    standins.prepare(folder)
    assert weights.at_hand(DINOV2)
    assert not weights.at_hand(CLIP)
    assert ScoreFeatures(base(), others=True).name == "DINOv2 (likeness) and the base (fidelity)"
    standins.clip(home)
    features = ScoreFeatures(base(), others=True)
    assert features.name == "DINOv2 (likeness) and CLIP (fidelity)"
    assert torch.allclose(features.of_things(pictures), torch.from_numpy(open_features("dinov2")(pictures)))
    table = clip_table(pictures, PROMPTS)
    wanted = [sum(float(table[k, k % 3] > table[k, j]) for j in range(3)) / 2 for k in range(6)]
    assert features.recognised(pictures, PROMPTS).tolist() == pytest.approx(wanted)
    assert ScoreFeatures(base()).name == "the base"


@pytest.mark.parametrize("world", ["photos", "emoji"])
def test_a_judge_of_photos_uses_them_and_one_of_drawings_does_not(home: Path, pictures: Tensor, world: str) -> None:
    folder, _ = standins.dinov2(home)
    standins.prepare(folder)
    pictures = pictures if world == "photos" else pictures[..., :1, :1].expand(-1, -1, 16, 16)
    judge = Judge(base(), torch.no_grad, pictures[:4], "zarnu car", "car", world, Effort(2, 2))
    assert ("DINOv2" in judge.features.name) == (world == "photos")
    score, drawn, near = judge.score(1)
    assert near.shape == (len(drawn), 4)
    assert 0 <= score.fidelity.value <= 1.01


@pytest.mark.skipif(not DREAMBOOTH.is_dir(), reason="needs dreambooth/ in SFUMATO_DATA")
def test_photos_of_one_subject_are_nearest_to_each_other() -> None:
    """The shipped classifier, offline: 31 of 33 photos; the base's own features have 12."""
    photos, subjects = [], []
    for folder in sorted(path for path in DREAMBOOTH.iterdir() if path.is_dir()):
        for path in sorted(folder.glob("*.jp*g")):
            picture = Image.open(path).convert("RGB").resize((128, 128), Image.Resampling.LANCZOS)
            photos.append(torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy()))
            subjects.append(folder.name)
    x = torch.stack(photos)
    assert are_photos(x)
    features = ScoreFeatures(base(), others=True)
    assert features.name == "the shipped classifier (likeness) and the base (fidelity)"
    near = torch.nn.functional.normalize(features.of_things(x) - features.of_things(x).mean(0))
    cosine = near @ near.T
    nearest = cosine.fill_diagonal_(-1).argmax(1)
    assert sum(subjects[k] == subjects[j] for k, j in enumerate(nearest.tolist())) >= 29


def test_drawings_are_no_photos() -> None:
    assert not are_photos(true_drawings("single", 6, 64)[1])
    assert are_photos(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))
