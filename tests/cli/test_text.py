"""Text-to-image by command: prompts, files of prompts, a picture to start from, what a PNG says of itself, export."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sfumato.lora.adapter import Shape, attach, taken
from sfumato.lora.formats import write_kohya
from sfumato.show.png import parameters, save_png
from sfumato.zoo import load

from ..models.test_training import pictures, run  # noqa: F401 (fixtures)
from ..tuning.conftest import stirred
from .test_commands import Sfumato, sfumato  # noqa: F401 (a fixture)


def test_a_png_says_how_it_was_made(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:  # noqa: F811
    words = ("--prompt", "a red square", "--negative", "a blue square", "--seed", 7, "--steps", 3, "-n", 2, "--each")
    answer = sfumato("sample", run, *words, "--out", "s", "--json")
    assert answer.status == 0
    assert answer.json()["files"] == ["s/grid.png", "s/000007.png", "s/000008.png"]
    with Image.open(tmp_path / "s" / "000008.png") as image:
        prompt, negative, settings = image.info["parameters"].split("\n")
        assert image.size == (32, 32)
    assert (prompt, negative) == ("a red square", "Negative prompt: a blue square")
    assert settings.startswith("Steps: 3, Sampler: DPM++ 2M, CFG scale: 2, Seed: 8, Size: 32x32, Model: whole")
    sfumato("sample", run, *words, "--out", "t", "--no-metadata")
    with Image.open(tmp_path / "t" / "000008.png") as image:
        assert "parameters" not in image.info


def test_prompts_from_a_file_and_sizes(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "prompts.txt").write_text("a red square\n\na blue square\na green square\n")
    answer = sfumato("sample", run, "--prompts", "prompts.txt", "--each", "--size", "32x48", "--out", "s", "--json")
    assert answer.json()["n"] == 3
    with Image.open(tmp_path / "s" / "000000.png") as image:
        assert image.size == (48, 32)


def test_a_picture_to_start_from(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:  # noqa: F811
    Image.new("RGB", (50, 40), "red").save(tmp_path / "photo.png")
    told = ("--prompt", "a red square", "--init", "photo.png", "--strength", 0.5, "-n", 1, "--out", "s")
    assert sfumato("sample", run, *told).status == 0


def test_a_prompt_that_is_too_long_is_cut_and_said(sfumato: Sfumato, run: Path) -> None:  # noqa: F811
    answer = sfumato("sample", run, "--prompt", "a red square " * 8, "-n", 1, "--steps", 1, "--out", "s")
    assert answer.status == 0
    assert "left out of" in answer.err


def test_an_empty_prompt_is_said(sfumato: Sfumato, run: Path) -> None:  # noqa: F811
    answer = sfumato("sample", run, "--prompt", "", "-n", 1, "--steps", 1, "--out", "s")
    assert answer.status == 0
    assert "an empty prompt" in answer.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--prompts", "gone.txt"), "not readable"),
        (("--prompts", "empty.txt"), "is empty"),
        (("--prompt", "a", "--prompts", "empty.txt"), "alone"),
        (("--prompt", "a", "--size", "33"), "multiples of 8"),
        (("--prompt", "a", "--size", "big"), "--size big"),
        (("--prompt", "a", "--init", "empty.txt"), "init empty.txt"),
        (("--prompt", "a", "--guidance", "nan"), "sample.guidance"),
        (("--prompt", "word " * 10_000), "shorten it"),
        (("--prompt", "a", "--rescale", "2"), "sample.rescale"),
    ],
)
def test_mistakes(sfumato: Sfumato, run: Path, tmp_path: Path, words: tuple[str, ...], reason: str) -> None:  # noqa: F811
    (tmp_path / "empty.txt").touch()
    answer = sfumato("sample", run, *words)
    assert answer.status == 2
    assert answer.err.count("\n") == 1
    assert reason in answer.err


def test_an_autoencoder_is_not_sampled(sfumato: Sfumato, run: Path) -> None:  # noqa: F811
    assert "is an autoencoder" in sfumato("sample", run.parent / "ground").err


def test_export(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:  # noqa: F811
    answer = sfumato("export", run, "--to", "diffusers", "--out", "pipe", "--json")
    assert answer.status == 0
    assert (tmp_path / "pipe" / "tokenizer" / "merges.txt").is_file()
    assert sfumato("sample", "pipe", "--prompt", "a red square", "-n", 1, "--steps", 2).status == 0
    assert "--overwrite" in sfumato("export", run, "--out", "pipe").err
    assert "known formats" in sfumato("export", run, "--to", "word", "--out", "p").err
    assert "NAME.safetensors" in sfumato("export", run, "--to", "single", "--out", "p").err
    assert "use --to diffusers" in sfumato("export", run, "--to", "single", "--out", "p.safetensors").err


def test_nothing_of_anybodys_is_lost(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:  # noqa: F811
    """Only a folder that sfumato wrote is replaced, and never one that is still to be read."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "thesis.txt").write_text("mine")
    for words in (("docs",), (".",), (run,), (run.parent,), ("link",)):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(tmp_path / "docs")
        refused = sfumato("export", run, "--overwrite", "--out", *words)
        assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert (tmp_path / "docs" / "thesis.txt").read_text() == "mine"
    assert sfumato("export", run, "--out", "pipe").status == 0
    first = (tmp_path / "pipe" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert sfumato("export", run, "--out", "pipe", "--overwrite", "--no-half").status == 0
    assert (tmp_path / "pipe" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() != first
    assert not list(tmp_path.glob(".*")), "nothing is left beside it"
    assert "to be read" in sfumato("export", "pipe", "--overwrite", "--out", "pipe").err
    for place in ("thesis.txt", "unet/thesis.txt"):
        (tmp_path / "pipe" / place).write_text("mine")
        assert place in sfumato("export", run, "--out", "pipe", "--overwrite").err
        (tmp_path / "pipe" / place).unlink()


def test_loras_are_laid_over_a_model_and_merged(sfumato: Sfumato, run: Path, tmp_path: Path) -> None:  # noqa: F811
    model = load(run, precision="fp32")
    attach(model.net, Shape(rank=2, alpha=4, feed_forward=False))  # type: ignore[arg-type]
    stirred(model.net)  # type: ignore[arg-type]
    write_kohya(taken(model.net), tmp_path / "a.safetensors", {})  # type: ignore[arg-type]
    words = ("--prompt", "a red square", "-n", 1, "--steps", 2, "--each")
    assert sfumato("sample", run, *words, "--out", "plain").status == 0
    told = sfumato("sample", run, *words, "--lora", "a.safetensors", "--lora-scale", 0.5, "--out", "half")
    assert "weights changed, at 0.5" in told.err
    assert sfumato("sample", run, *words, "--lora", "a.safetensors", "--lora-scale", 0, "--out", "none").status == 0
    plain, half, none = ((tmp_path / name / "000000.png").read_bytes() for name in ("plain", "half", "none"))
    assert plain == none != half
    merged = sfumato("merge", "a.safetensors", "--base", run, "--out", "merged", "--json")
    assert merged.status == 0
    assert sfumato("sample", "merged", *words, "--out", "whole").status == 0
    two = sfumato("sample", run, *words, "--lora", "a.safetensors", "--lora-scale", 1, "--lora-scale", 2)
    assert "1 LoRAs and 2 values of --lora-scale" in two.err


def test_the_words_of_a_png_may_be_of_any_language(tmp_path: Path) -> None:
    text = parameters("ein süßer Kater, 猫", None, 20, "ddim", 4.5, 3, (64, 48), "mini")
    save_png(Image.new("RGB", (4, 4)), tmp_path / "a.png", text)
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.info["parameters"].startswith("ein süßer Kater, 猫\nSteps: 20, Sampler: DDIM, CFG scale: 4.5")
        assert "Size: 48x64" in image.info["parameters"]
