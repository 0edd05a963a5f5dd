"""PSNR and SSIM in every convention, against hand-made figures and other libraries."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from sfumato.errors import UserError
from sfumato.judging import repeat
from sfumato.judging.denoise import fidelity, judge_denoised, likeness
from sfumato.judging.noisy import Noisy
from sfumato.judging.unseen import trained_on, unseen
from sfumato.models.pixel import PixelModel
from sfumato.pictures.store import open_store

from ..tiny import SIDE, model_of, recipe_of, write_pictures


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PixelModel:
    folder = write_pictures(tmp_path_factory.mktemp("pictures"))
    return replace(model_of(shape=(3, SIDE, SIDE)), recipe=recipe_of(folder, "none"))


class Known(PixelModel):
    """A model that says what it is given to say."""

    @property
    def denoiser(self):  # type: ignore[no-untyped-def,override]
        return lambda x, level, cond=None: self.facts["says"](x)


def known(model: PixelModel, says: object) -> PixelModel:
    return Known(**{**vars(model), "facts": {"says": says}})


def test_conventions_differ_as_they_should() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(4, 3, 32, 32, generator=generator)
    noisy = true + torch.tensor([0.02, 0.05, 0.1, 0.3]).view(4, 1, 1, 1) * torch.randn(true.shape, generator=generator)
    found = fidelity([likeness(a, b) for a, b in zip(noisy, true, strict=True)])
    each = [float(peak_signal_noise_ratio(a[None], b[None], data_range=1.0)) for a, b in zip(noisy, true, strict=True)]
    assert found.per_image.value == pytest.approx(np.mean(each), abs=1e-4)
    assert found.of_mean == pytest.approx(float(peak_signal_noise_ratio(noisy, true, data_range=1.0)), abs=1e-4)
    assert found.of_mean < found.per_image.value
    assert found.per_image.low < found.per_image.value < found.per_image.high


def test_ssim_is_the_fields() -> None:
    """The Gaussian form equals torchmetrics' away from the borders, which it pads; equal pictures score 1."""
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(3, 64, 64, generator=generator)
    noisy = true + 0.1 * torch.randn(true.shape, generator=generator)
    _, uniform, gauss = likeness(noisy, true)
    _, whole = structural_similarity_index_measure(noisy[None], true[None], data_range=1.0, return_full_image=True)
    assert gauss == pytest.approx(float(whole[..., 5:-5, 5:-5].mean()), abs=2e-3)
    assert uniform != pytest.approx(gauss, abs=1e-4)
    assert likeness(true, true)[1:] == pytest.approx((1, 1))


def test_a_model_that_changes_nothing_scores_as_the_noisy_pictures(model: PixelModel) -> None:
    found = judge_denoised(known(model, lambda x: x), Noisy(correct=False), n=8)
    assert found.denoised == found.noisy
    assert found.n == 8
    assert -20 * np.log10(0.2) < found.noisy.per_image.value < 17  # clipping takes some of the noise away


def test_a_model_that_knows_the_pictures_is_perfect(model: PixelModel) -> None:
    held = open_store(model.recipe.data).held_out.pixels
    true = held[:6].float() / 127.5 - 1

    def says(x: Tensor) -> Tensor:
        return true

    found = judge_denoised(known(model, says), Noisy(clip=False), n=6)
    assert found.denoised.per_image.value > 120
    assert found.denoised.uniform7.value == pytest.approx(1)
    assert found.noisy.per_image.value == pytest.approx(-20 * np.log10(0.2), abs=0.2)


def test_noise_depends_on_the_picture_and_the_seed_alone(model: PixelModel) -> None:
    three, eight = (judge_denoised(model, Noisy(clip=False), n=n, seed=5) for n in (3, 8))
    assert torch.equal(three.pictures["noisy"], eight.pictures["noisy"][:3])
    other = judge_denoised(model, Noisy(clip=False), n=3, seed=6)
    assert torch.equal(other.pictures["noisy"][0] - other.pictures["true"][0],
                       other.pictures["noisy"][0] - three.pictures["true"][0])  # fmt: skip
    assert not torch.equal(other.pictures["noisy"], three.pictures["noisy"])


def test_json_keys_are_stable(model: PixelModel) -> None:
    found = judge_denoised(model, n=4).to_json()
    assert {"per_image", "of_mean"} <= found["psnr"].keys()
    assert {"uniform7", "gauss11"} <= found["ssim"].keys()
    assert found["noisy"].keys() == {"psnr", "ssim"}
    assert found["n"] == 4


@pytest.mark.parametrize("sigma", [0.0, -0.1, 1.5, float("nan")])
def test_a_level_out_of_range(model: PixelModel, sigma: float) -> None:
    with pytest.raises(UserError, match="above 0 and at most 1"):
        judge_denoised(model, Noisy(sigma))


def test_the_verdict_says_that_it_is_of_two_answers(model: PixelModel) -> None:
    """Of a model that shifts pictures to one side, the mirrored answer shifts to the other."""
    plain, both = (
        judge_denoised(known(model, lambda x: x.roll(1, 3)), Noisy(clip=False, mirror=m), n=6) for m in (False, True)
    )
    assert both.denoised.per_image.value > plain.denoised.per_image.value
    assert (plain.to_json()["mirror"], both.to_json()["mirror"]) == (False, True)
    assert "mirrored" in both.words()
    assert "mirrored" not in plain.words()


def test_a_folder_that_was_not_trained_on_is_used_whole_and_at_its_own_scale(model: PixelModel, tmp_path: Path) -> None:
    shapes: list[tuple[int, ...]] = []

    def says(x: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        return x

    folder = write_pictures(tmp_path / "small", count=20)
    for path in folder.rglob("*.png"):
        Image.open(path).crop((0, 0, 14, 12)).save(path)
    verdict = judge_denoised(known(model, says), Noisy(0.1), data=str(folder))
    assert verdict.n == 20
    assert verdict.pictures["true"].shape[-2:] == (12, 14)
    assert all(shape[-2:] <= (16, 16) for shape in shapes)
    assert judge_denoised(known(model, says), Noisy(0.1), n=6, data=str(folder)).n == 6
    assert judge_denoised(known(model, says), Noisy(0.1), n=18, data=str(folder)).n == 18


def test_pictures_of_different_sizes_are_cut_and_not_scaled(model: PixelModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k, size in enumerate([(12, 30), (24, 13), (40, 40)]):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    found = unseen(model, str(tmp_path))
    assert found.shape[1:] == (3, 12, 12)
    assert len(found) == 1 * 3 + 2 * 2 + 4 * 4
    assert float(found.float().std()) > 70  # resampled noise is flatter


def test_of_the_pictures_of_the_training_the_held_out_ones_are_used(model: PixelModel, tmp_path: Path) -> None:
    own = model.recipe.data
    store = open_store(own)
    held = len(store.held_out)
    assert trained_on(model, own.source)
    assert judge_denoised(known(model, lambda x: x), Noisy(0.1), data=own.source).n == held
    copied = shutil.copytree(own.source, tmp_path / "copied")
    trained = replace(model, facts={"data": {"digest": store.digest}})
    assert trained_on(trained, str(copied))
    assert len(unseen(trained, str(copied))) == held
    next(copied.rglob("*.png")).unlink()
    assert not trained_on(trained, str(copied))


@pytest.mark.parametrize(
    ("noisy", "flags"),
    [
        (Noisy(0.1), "--sigma 0.1"),
        (Noisy(0.2, clip=False, blind=True, mirror=True, correct=False), "--no-clip --blind --mirror --no-correct"),
    ],
)
def test_the_command_holds_all_that_was_chosen(noisy: Noisy, flags: str, tmp_path: Path) -> None:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    command = repeat.denoised("photo", noisy, 9, str(folder), 3)
    assert command.startswith(f"sfumato judge photo --task denoise --data '{folder}' -n 9 ")
    assert flags in command
    assert command.endswith("--seed 3")
    assert "-n" not in repeat.denoised("photo", Noisy(), 3, None, 0).split(), "fewer than four are refused"
