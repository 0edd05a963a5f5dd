"""A tuning of Stable Diffusion XL from photos to a proven LoRA, by the command."""

# ruff: noqa: F811 (fixtures)
from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sfumato.tuning import start as tuning
from sfumato.tuning.preset import Preset

from ...cli.test_commands import Sfumato, sfumato  # noqa: F401
from ...tuning.test_photos import scene
from .tiny import folder

WORDS = ("--steps", 2, "--rank", 2, "--trigger", "zarnu", "train.batch=2", "train.warmup=0", "train.lr=1e-2",
         "tune.variants=2")  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("xl")
    (root / "photos").mkdir()
    for k in range(5):
        scene(k, (40, 40)).save(root / "photos" / f"{k}.png")
    folder(root / "base")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("text", [False, True])
def test_photos_become_a_lora_that_proves_itself(sfumato: Sfumato, root: Path, tmp_path: Path, text: bool) -> None:
    out, flags = tmp_path / "car", ["--text-encoder"] if text else []
    answer = sfumato("tune", root / "photos", "--noun", "car", "--base", root / "base", "--out", out, *flags, *WORDS)
    assert answer.status == 0, answer.err
    proofs = json.loads((out / "verified.json").read_text("utf-8"))
    assert set(proofs) == {"effect", "kohya", "peft", "diffusers"}
    parts = {key.split("_")[1] for key in load_file(out / "car.safetensors")}
    assert parts == {"unet", *(("te1", "te2") if text else ())}
    with safe_open(out / "car.safetensors", "pt") as opened:
        assert opened.metadata()["ss_base_model_version"] == "sdxl_base_v1-0"
    assert (out / "text_encoder_2" / "adapter_model.safetensors").is_file() == text
    drawn = sfumato("sample", root / "base", "--lora", out / "car.safetensors", "--prompt", "a zarnu car", "-n", 1,
                    "--steps", 1)  # fmt: skip
    assert drawn.status == 0, drawn.err
    merged = sfumato("merge", out, "--base", root / "base", "--out", tmp_path / "merged")
    assert merged.status == 0, merged.err
    assert sfumato("sample", tmp_path / "merged", "--prompt", "a zarnu car", "-n", 1, "--steps", 1).status == 0


@pytest.mark.parametrize("text", [False, True])
def test_it_learns_under_the_sizes_of_its_photos_and_what_stands_for_nothing(
    root: Path, tmp_path: Path, text: bool
) -> None:
    recipe = Preset().recipe(str(root / "base"))
    recipe = recipe.with_({
        "data.source": str(root / "photos"), "tune.noun": "car", "tune.trigger": "zarnu", "tune.rank": 2,
        "tune.text_encoder": text, "train.batch": 2, "tune.variants": 1,
    })  # fmt: skip
    job = tuning.begin(recipe, out=tmp_path / "car", steps=1)
    task, conditions = job.task, job.task.conditions.tensors
    side = job.photos.sizes[0][0]
    assert 16 < side <= 40  # the square of a photo, before it is scaled
    assert conditions["ids"][0].tolist() == [side, side, 0, 0, 16, 16]
    assert conditions["ids"][task.prior_rows[0, 0]].tolist() == [side, side, 0, 0, 16, 16]
    for row in (task.null, task.plain):
        assert conditions["ids"][row].tolist() == [16, 16, 0, 0, 16, 16]
    with torch.no_grad():
        cond = task._encoded(torch.tensor([task.null, task.plain])).tensors
    assert float(cond["states"][0].abs().max()) == float(cond["pooled"][0].abs().max()) == 0
    assert float(cond["states"][1].abs().max()) > 0
