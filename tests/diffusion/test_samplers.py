from __future__ import annotations

import math

import diffusers
import pytest
import torch
from torch import Tensor

from sfumato import registry
from sfumato.diffusion import samplers
from sfumato.diffusion.condition import Condition
from sfumato.diffusion.denoiser import PREDICTIONS, Preconditioned
from sfumato.diffusion.exact import Mixture
from sfumato.diffusion.level import Level, fit
from sfumato.diffusion.schedule import Discrete, Flow, LogNormal, Schedule, cosine, linear, scaled_linear, zero_terminal

SHAPE = (4, 2, 1, 3)
SAMPLERS = {name: registry.find("sampler", name) for name in registry.names("sampler")}


def start(levels: Level, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return levels.sigma[0] * torch.randn(SHAPE, generator=generator, dtype=torch.float64)


def smooth_path(steps: int, top: float = 20.0, bottom: float = 0.02, rho: float = 7.0) -> Level:
    grid = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return Level.of((top ** (1 / rho) + grid * (bottom ** (1 / rho) - top ** (1 / rho))) ** rho)


@pytest.mark.parametrize(
    ("name", "order", "slack"), [("euler", 1, 0.2), ("ddim", 1, 0.2), ("heun", 2, 0.3), ("dpm++2m", 2, 0.3)]
)
@pytest.mark.parametrize("scale", ["edm", "vp", "flow"])
def test_order_of_convergence(mixture: Mixture, name: str, order: int, slack: float, scale: str) -> None:
    def rescaled(level: Level) -> Level:
        if scale == "edm":
            return level
        size = torch.hypot(level.alpha, level.sigma) if scale == "vp" else level.alpha + level.sigma
        return Level(level.alpha / size, level.sigma / size)

    sampler = SAMPLERS[name]
    noise = start(smooth_path(1)) / 20.0  # standard normal

    def end(steps: int, method: samplers.Sampler) -> Tensor:
        levels = rescaled(smooth_path(steps))
        return method(mixture, levels.sigma[0] * noise, levels) / levels.alpha[-1]

    exact = end(8192, samplers.heun)
    evaluations = [64, 128, 256, 512, 1024]
    calls = 2 if name == "heun" else 1
    errors = [(end(n // calls, sampler) - exact).abs().mean().item() for n in evaluations]
    x = torch.tensor(evaluations, dtype=torch.float64).log()
    y = torch.tensor(errors, dtype=torch.float64).log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert -slope.item() == pytest.approx(order, abs=slack)


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("schedule", [linear(), LogNormal(), Flow()], ids=["linear", "edm", "flow"])
def test_every_prediction_takes_the_same_path(mixture: Mixture, name: str, schedule: Schedule) -> None:
    """A network that outputs each prediction type of one exact denoiser."""
    sigma_data = 0.5
    levels = schedule.path(12)
    ends = {}
    for prediction, coefficients in PREDICTIONS.items():
        if prediction in ("epsilon", "x0-unscaled", "residual") and isinstance(schedule, Flow):
            continue  # alpha = 0: they say nothing there

        def network(scaled: Tensor, c: Tensor, cond: Condition | None, coefficients=coefficients) -> Tensor:
            level = current[0]  # noqa: B023
            around = coefficients(level, sigma_data)
            x = scaled / fit(around.inp, scaled)
            return (mixture(x, level) - fit(around.skip, x) * x) / fit(around.out, x)

        current: list[Level] = []
        inner = Preconditioned(network, prediction, sigma_data)

        def denoise(x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
            current[:] = [level]  # noqa: B023
            return inner(x, level, cond)  # noqa: B023

        generator = torch.Generator().manual_seed(1)
        seen: list[Tensor] = []
        SAMPLERS[name](
            denoise, start(levels), levels,
            noise=lambda g=generator: torch.randn(SHAPE, generator=g, dtype=torch.float64),
            callback=lambda step, seen=seen: seen.append(step.x),
        )  # fmt: skip
        ends[prediction] = torch.stack(seen)
    reference = ends["edm"]
    for prediction, path in ends.items():
        assert (path - reference).abs().max() < 1e-4, prediction


class Recorded:
    """The epsilon of the exact denoiser, for diffusers."""

    def __init__(self, mixture: Mixture, schedule: Discrete) -> None:
        self.mixture, self.schedule = mixture, schedule

    def __call__(self, x: Tensor, t: int) -> Tensor:
        level = self.schedule.at(torch.tensor(t))
        return (x - level.alpha * self.mixture(x, level)) / level.sigma


def diffusers_path(scheduler: object, model: Recorded, x: Tensor, steps: int, **options: object) -> list[Tensor]:
    path = []
    scheduler.set_timesteps(steps)  # type: ignore[attr-defined]
    if hasattr(scheduler, "sigmas"):  # the same numbers, not rounded to float32
        scheduler.sigmas = model.schedule.path(steps).ratio
    for t in scheduler.timesteps:  # type: ignore[attr-defined]
        path.append(x)
        x = scheduler.step(model(x, int(t)), t, x, **options).prev_sample.double()  # type: ignore[attr-defined]
    return [*path, x]


def our_path(name: str, mixture: Mixture, x: Tensor, levels: Level, seed: int, **options: float) -> list[Tensor]:
    path: list[Tensor] = []
    torch.manual_seed(seed)
    dtype = torch.float32 if name == "dpm++2m-sde" else torch.float64  # as diffusers draws its noise
    end = SAMPLERS[name](
        mixture, x, levels, noise=lambda: torch.randn(SHAPE, dtype=dtype).double(),
        callback=lambda step: path.append(step.x), **options,
    )  # fmt: skip
    return [*path, end]


@pytest.mark.parametrize("steps", [10, 50, 1000])
@pytest.mark.parametrize("case", ["ddpm", "ddim", "ddim-eta", "dpm++2m", "dpm++2m-sde"])
@pytest.mark.parametrize("schedule", ["linear", "scaled_linear"])
def test_equals_diffusers_step_by_step(mixture: Mixture, case: str, steps: int, schedule: str) -> None:
    ours = linear() if schedule == "linear" else scaled_linear()
    first, last = (1e-4, 0.02) if schedule == "linear" else (0.00085, 0.012)
    common = {
        "num_train_timesteps": 1000,
        "trained_betas": None,
        "beta_schedule": schedule,
        "beta_start": first,
        "beta_end": last,
        "timestep_spacing": "trailing",
    }
    options: dict[str, object] = {}
    if case == "ddpm":
        theirs = diffusers.DDPMScheduler(clip_sample=False, **common)
    elif case.startswith("ddim"):
        theirs = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=True, **common)
        options = {"eta": 0.6 if case == "ddim-eta" else 0.0}
    else:
        kind = "sde-dpmsolver++" if case.endswith("sde") else "dpmsolver++"
        theirs = diffusers.DPMSolverMultistepScheduler(algorithm_type=kind, final_sigmas_type="zero", **common)
    bars = torch.as_tensor(theirs.alphas_cumprod).double()
    assert (bars - ours.alpha_bar).abs().max() < 1e-6
    ours = Discrete(bars)  # the same float32 rounding of the betas on both sides
    theirs.alphas_cumprod = bars
    levels = ours.path(steps)
    x = start(levels) / levels.sigma[0]
    torch.manual_seed(7)
    expected = diffusers_path(theirs, Recorded(mixture, ours), x, steps, **options)
    extra = {"eta": 0.6} if case == "ddim-eta" else {}
    name = "ddim" if case.startswith("ddim") else case
    found = our_path(name, mixture, x, levels, 7, **extra)
    assert len(found) == len(expected)
    for k, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert (a - b).abs().max() < 1e-5, f"step {k}"


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize(
    "schedule",
    [linear(), cosine(), zero_terminal(scaled_linear()), LogNormal(), Flow()],
    ids=["linear", "cosine", "zero-terminal", "edm", "flow"],
)
def test_samples_follow_the_mixture(mixture: Mixture, name: str, schedule: Schedule) -> None:
    """Mean and spread of 4,000 samples, on every path, pure noise at its start or not."""
    torch.manual_seed(0)
    levels = schedule.path(60)
    x = levels.sigma[0] * torch.randn(4000, *SHAPE[1:], dtype=torch.float64)
    found = SAMPLERS[name](mixture, x, levels)
    expected = mixture.draw(100_000, torch.Generator().manual_seed(1))
    assert torch.isfinite(found).all()
    assert (found.mean(0) - expected.mean(0)).abs().max() < 0.05
    assert (found.std(0) / expected.std(0) - 1).abs().max() < 0.2  # 60 ancestral steps lose some spread


def test_churn_keeps_the_distribution(mixture: Mixture) -> None:
    torch.manual_seed(0)
    levels = LogNormal().path(40)
    x = levels.sigma[0] * torch.randn(4000, *SHAPE[1:], dtype=torch.float64)
    found = samplers.heun(mixture, x, levels, churn=20.0, inflate=1.0)
    expected = mixture.draw(100_000, torch.Generator().manual_seed(1))
    assert (found.std(0) / expected.std(0) - 1).abs().max() < 0.1


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_counts_its_evaluations(mixture: Mixture, name: str) -> None:
    calls = []

    def counting(x: Tensor, level: Level, cond: Condition | None = None) -> Tensor:
        calls.append(level)
        return mixture(x, level)

    levels = LogNormal().path(9)
    SAMPLERS[name](counting, start(levels), levels)
    assert len(calls) == samplers.evaluations(SAMPLERS[name], levels)


def test_a_step_from_pure_noise_is_finite(mixture: Mixture) -> None:
    levels = Flow().path(3)
    assert levels.alpha[0] == 0
    for name in SAMPLERS:
        assert torch.isfinite(SAMPLERS[name](mixture, start(levels), levels)).all(), name
    assert math.isinf(float(levels[0].ratio))
