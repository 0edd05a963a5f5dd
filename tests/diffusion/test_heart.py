"""Levels, schedules, predictions, guidance and loss."""

from __future__ import annotations

from dataclasses import replace

import diffusers
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import PREDICTIONS, Clipped, Preconditioned
from sfumato.diffusion.exact import Mixture
from sfumato.diffusion.guidance import Guided
from sfumato.diffusion.level import Level
from sfumato.diffusion.loss import WEIGHTINGS, denoising_loss
from sfumato.diffusion.schedule import (
    Flow,
    LogNormal,
    cosine,
    linear,
    midpoints,
    scaled_linear,
    stratified,
    zero_terminal,
)

SCHEDULES = [
    linear(),
    linear(250),
    cosine(),
    scaled_linear(),
    zero_terminal(scaled_linear()),
    LogNormal(),
    Flow(),
]
NAMES = ["linear", "linear-250", "cosine", "scaled-linear", "zero-terminal", "edm", "flow"]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=NAMES)
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_a_path_descends_to_no_noise(schedule, steps: int) -> None:
    path = schedule.path(steps)
    assert len(path) == steps + 1
    assert path.alpha.dtype == path.sigma.dtype == torch.float64
    assert path.sigma[-1] == 0
    assert path.alpha[-1] == 1
    assert (path.log_ratio.diff() < 0).all()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=NAMES)
def test_more_uniform_means_more_noise(schedule) -> None:
    level = schedule.draw(torch.linspace(0, 0.999, 101, dtype=torch.float64))
    assert (level.log_ratio.diff() >= 0).all()
    assert torch.isfinite(level.alpha).all()
    assert (level.sigma > 0).all()


def test_betas_are_those_of_diffusers() -> None:
    for ours, name, first, last in (
        (linear(), "linear", 1e-4, 0.02),
        (scaled_linear(), "scaled_linear", 0.00085, 0.012),
        (cosine(), "squaredcos_cap_v2", 1e-4, 0.02),
    ):
        theirs = diffusers.DDIMScheduler(beta_schedule=name, beta_start=first, beta_end=last).alphas_cumprod.double()
        assert (ours.alpha_bar - theirs).abs().max() < 1e-6
    theirs = diffusers.DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, rescale_betas_zero_snr=True
    ).alphas_cumprod
    ours = zero_terminal(scaled_linear()).alpha_bar
    assert ours[-1] == 0
    assert (ours - theirs.double()).abs().max() < 1e-5


def test_zero_terminal_is_pure_noise_and_keeps_the_cleanest_level() -> None:
    shifted, plain = zero_terminal(scaled_linear()), scaled_linear()
    assert shifted.path(5).alpha[0] == 0
    assert torch.isclose(shifted.alpha_bar[0], plain.alpha_bar[0])


@given(st.floats(1e-3, 1e2), st.floats(1e-2, 3), st.sampled_from(list(PREDICTIONS)))
def test_a_perfect_network_makes_a_perfect_denoiser(sigma: float, alpha: float, prediction: str) -> None:
    """The training target, put back through the coefficients, is x0, at any level of any scale."""
    level = Level.of(sigma, alpha)
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(2, 1, 2, 2, generator=generator, dtype=torch.float64) * 2 - 1
    n = torch.randn(2, 1, 2, 2, generator=generator, dtype=torch.float64)
    x = level.mix(x0, n)
    c = PREDICTIONS[prediction](level, 0.5)
    target = (x0 - c.skip * x) / c.out
    truth = {
        "epsilon": n,
        "x0": x0,
        "x0-unscaled": x0,
        "residual": target,
        "v": (alpha * n - sigma * x0) / (alpha**2 + sigma**2) ** 0.5,
        "flow": n - x0,
        "edm": target,
    }[prediction]
    assert torch.allclose(target, truth, rtol=1e-6, atol=1e-8)
    seen = Preconditioned(lambda *_: target, prediction)(x, level)
    assert torch.allclose(seen, x0, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("prediction", [p for p in PREDICTIONS if p not in ("epsilon", "x0-unscaled", "residual")])
def test_pure_noise_has_finite_coefficients(prediction: str) -> None:
    c = PREDICTIONS[prediction](Level.of(1.0, 0.0), 0.5)
    assert all(torch.isfinite(value) for value in (c.inp, c.skip, c.out))


@given(st.floats(1e-6, 1e-2), st.floats(0.3, 3), st.integers(0, 2**31))
def test_a_residual_denoiser_keeps_what_has_no_noise(sigma: float, alpha: float, seed: int) -> None:
    """Whatever the network says, D goes to x / alpha as sigma goes to 0; at strong noise it says all of the rest."""
    said = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    denoiser = Preconditioned(lambda *_: said, "residual", 0.015)
    x = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    change = (denoiser(x, Level.of(sigma * alpha, alpha)) - x / alpha).abs()
    assert (change <= said.abs() * sigma / 0.015 + 1e-12).all()
    assert torch.allclose(denoiser(x, Level.of(1.0)) - x, said, rtol=2e-4)


@given(st.floats(0.01, 50))
def test_edm_coefficients_are_those_of_the_paper(sigma: float) -> None:
    c = PREDICTIONS["edm"](Level.of(sigma), 0.5)
    assert float(c.inp) == pytest.approx((sigma**2 + 0.25) ** -0.5)
    assert float(c.skip) == pytest.approx(0.25 / (sigma**2 + 0.25))
    assert float(c.out) == pytest.approx(sigma * 0.5 * (sigma**2 + 0.25) ** -0.5)
    weight = WEIGHTINGS["edm"](Level.of(sigma), c, 0.5)
    assert float(weight) == pytest.approx(1.0)  # lambda times c_out^2


def test_levels_count_alike_by_what_photos_allow() -> None:
    """The error that photos allow, so weighted, is the same at every level."""
    r = torch.tensor([0.25, 1, 5, 15, 50, 100], dtype=torch.float64) * 2 / 255
    level = Level.of(r)
    c = PREDICTIONS["residual"](level, 0.016)
    error = r**2 / (1 + r / 0.016) / c.out**2
    assert torch.allclose(WEIGHTINGS["psnr"](level, c, 0.016) * error, torch.tensor(0.016, dtype=torch.float64))


@given(st.floats(0.01, 50))
def test_min_snr_weighs_v_as_its_paper_says(sigma: float) -> None:
    size = (1 + sigma**2) ** 0.5
    level = Level.of(sigma / size, 1 / size)
    snr = sigma**-2
    c = PREDICTIONS["v"](level, 0.5)
    assert float(WEIGHTINGS["min-snr-5"](level, c, 0.5)) == pytest.approx(min(snr, 5) / (snr + 1))


@given(st.floats(0.01, 50), st.floats(0.1, 2), st.sampled_from(sorted(PREDICTIONS)))
def test_root_snr_weighs_errors_of_x0_alike_for_all_predictions(sigma: float, alpha: float, prediction: str) -> None:
    level = Level.of(sigma, alpha)
    c = PREDICTIONS[prediction](level, 0.5)
    assert float(WEIGHTINGS["root-snr"](level, c, 0.5) / c.out.square()) == pytest.approx(alpha / sigma)


def test_the_loss_of_the_exact_denoiser_is_the_least(mixture: Mixture) -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = mixture.draw(4000, generator)
    noise = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    level = Level.of(torch.full((4000,), 0.7, dtype=torch.float64))

    def as_network(denoise):
        c = PREDICTIONS["edm"](level, 0.5)
        shape = (-1, 1, 1, 1)
        inp, skip, out = (t.reshape(shape) for t in (c.inp, c.skip, c.out))
        return lambda scaled, *_: (denoise(scaled / inp) - skip * scaled / inp) / out

    def mean_loss(denoise) -> float:
        return float(denoising_loss(Preconditioned(as_network(denoise), "edm"), "edm", x0, noise, level).mean())

    best = mean_loss(lambda x: mixture(x, level))
    for worse in (lambda x: mixture(x, level) + 0.05, lambda x: 1.05 * mixture(x, level), lambda x: x):
        assert mean_loss(worse) > best


def test_guidance_extrapolates_and_keeps_its_interval(mixture: Mixture) -> None:
    x = torch.randn(5, 2, 1, 3, dtype=torch.float64)
    cond = Condition.of(tokens=torch.full((5, 1), 2))
    null = Condition.of(tokens=torch.zeros(1, 1, dtype=torch.long))
    level = Level.of(0.8)
    told, untold = mixture(x, level, cond), mixture(x, level, null.repeat(5))
    assert torch.allclose(untold, mixture(x, level))
    assert torch.allclose(Guided(mixture, 3.0, null)(x, level, cond), untold + 3 * (told - untold))
    assert torch.allclose(Guided(mixture, 1.0, null)(x, level, cond), told)
    assert torch.allclose(Guided(mixture, 0.0, null)(x, level, cond), untold)
    outside = Guided(mixture, 3.0, null, (1.0, 2.0))
    assert torch.allclose(outside(x, level, cond), told)
    assert torch.allclose(outside(x, Level.of(1.5), cond), Guided(mixture, 3.0, null)(x, Level.of(1.5), cond))
    with pytest.raises(ValueError, match="finite"):
        Guided(mixture, float("nan"), null)


def test_the_exact_denoiser_is_the_conditional_mean(mixture: Mixture) -> None:
    """Against a Monte-Carlo estimate by importance weights."""
    level = Level.of(0.5, 0.8)
    x = mixture.draw(1, torch.Generator().manual_seed(5)) * 0.8
    many = mixture.draw(400_000, torch.Generator().manual_seed(6))
    weights = torch.softmax(-(x - 0.8 * many).square().flatten(1).sum(1) / (2 * 0.25), 0)
    estimate = (weights[:, None, None, None] * many).sum(0)
    assert (mixture(x, level)[0] - estimate).abs().max() < 0.02


def test_clipped_stays_in_range() -> None:
    def wild(x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        return 3 * x

    assert Clipped(wild)(torch.tensor([[[[2.0, -0.1]]]]), Level.of(1.0)).tolist() == [[[[1.0, pytest.approx(-0.3)]]]]


@given(st.floats(0.2, 5), st.floats(0, 0.99))
def test_a_shift_moves_training_and_leaves_the_path(shift: float, u: float) -> None:
    """Esser et al. 2024, eq. 23: the ratio of what lies above to what lies below grows by the shift."""
    plain = linear(20_000)
    shifted = replace(plain, shift=shift)
    level = shifted.draw(torch.tensor([u], dtype=torch.float64))
    t = float(torch.searchsorted(plain.log_ratios, level.log_ratio)[0]) / plain.timesteps
    assert t / (1 - t) == pytest.approx(shift * u / (1 - u), rel=0.02, abs=1e-3)
    assert torch.equal(plain.path(10).sigma, shifted.path(10).sigma)


@given(st.integers(1, 200), st.integers(0, 2**32))
def test_a_batch_has_a_level_from_each_part(n: int, seed: int) -> None:
    u = stratified(n, torch.Generator().manual_seed(seed))
    assert u.dtype == torch.float64
    assert torch.equal((u * n).floor(), torch.arange(n, dtype=torch.float64))
    plain = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(u, (torch.arange(n, dtype=torch.float64) + plain) / n)  # as runs have always drawn them
    order = torch.arange(n).flip(0)
    assert torch.equal((stratified(n, torch.Generator().manual_seed(seed), order) * n).floor().long(), order)


def test_midpoints_lie_in_the_middle() -> None:
    assert midpoints(4).tolist() == [0.125, 0.375, 0.625, 0.875]
    at = torch.arange(30)
    assert torch.equal(midpoints(10)[at % 10], ((at % 10).double() + 0.5) / 10)
