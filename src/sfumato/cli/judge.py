"""`sfumato judge` and `sfumato compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sfumato import api
from sfumato.cli.console import EVENTS, JSON, SAMPLERS, answer, say
from sfumato.cli.screen import Screen
from sfumato.errors import UserError
from sfumato.files import Json, check_folder
from sfumato.judging.noisy import Noisy
from sfumato.judging.order import Order
from sfumato.models.sampling import Sampling

if TYPE_CHECKING:
    from sfumato.models.model import Model

N = typer.Option(None, "-n", min=4, help="Number of pictures; more gives narrower intervals [default: the recipe's].")
DATA = typer.Option(
    None, "--data", help="Compare with these pictures, a folder or data set [default: those of the training]."
)
FEATURES = typer.Option(
    None,
    "--features",
    help="Features for the distances: mini (offline), dinov2, clip, inception (for FID), the file of inception's "
    "weights, or your own as package.module:Name.",
)
METRIC = typer.Option(
    None, "--metric", help="A further figure: coverage, or your own as package.module:Name; can be repeated."
)
STEPS = typer.Option(None, "--steps", min=1, help="Steps of the sampler [default: the model's].")
SAMPLER = typer.Option(None, "--sampler", help=f"{SAMPLERS} [default: the model's]")
GUIDANCE = typer.Option(None, "--guidance", help="Classifier-free guidance; 1: none [default: the model's].")
SEED = typer.Option(0, "--seed", min=0, help="Seed of the first picture; picture k has SEED + k.")


def judge(
    model: str = typer.Argument(..., help="A run folder, a checkpoint, or a shipped model."),
    task: str = typer.Option(None, "--task", help="generate, denoise or text [default: the model's own task]."),
    n: int = N,
    data: str = DATA,
    features: str = FEATURES,
    metric: list[str] = METRIC,
    steps: int = STEPS,
    sampler: str = SAMPLER,
    guidance: float = GUIDANCE,
    sigma: float = typer.Option(
        0.2, "--sigma", help="denoise: standard deviation of the added noise, where white is 1."
    ),
    clip: bool = typer.Option(
        True, "--clip/--no-clip", help="denoise: clip noisy pictures to the range from black to white, as in files."
    ),
    blind: bool = typer.Option(False, "--blind", help="denoise: let the model estimate the noise level."),
    mirror: bool = typer.Option(False, "--mirror", help="denoise: average with the result of the mirrored picture."),
    correct: bool = typer.Option(
        True, "--correct/--no-correct", help="denoise: correct for clipping, if the model was trained without it."
    ),
    seed: int = SEED,
    out: Path = typer.Option(
        None,
        "--out",
        help="Folder for report.html and report.json [default: the run folder, its folder judge for a tuning, or "
        "judge-MODEL].",
    ),
    events: bool = EVENTS,
    json: bool = JSON,
) -> None:
    """Measure how good a model is, and write report.html.

    Task generate: how close its pictures are to real ones, how varied they are, and whether any is copied. Task
    denoise: PSNR and SSIM on held-out pictures. Task text: whether it draws what prompts describe (models of emoji).

    Figures have 95 % intervals; distances also have a floor, the value that real pictures reach.
    """
    from sfumato.models.names import check

    if task not in (None, "generate", "denoise", "text"):
        raise UserError(f"--task {task}: a model is judged as generate, denoise or text")
    sampling = Sampling(steps, sampler, guidance)
    order = Order(n, data, features, tuple(metric or ()), seed, sampling)
    order.check()
    noisy = Noisy(sigma, clip, blind, correct, mirror)
    noisy.check()
    check(model)
    check_folder(out or Path())
    from sfumato.zoo import opened

    with Screen(json, events) as screen:
        loaded = opened(model, screen, screen.stop)
        known = loaded.source == "emoji" or loaded.task != "text"
        task = task or (loaded.task if known else "generate")
        home = out or _home(model, loaded)
        check_folder(home)
        if task == "text":
            lines, page, value = _text(loaded, home, screen, n or 300, seed, sampling)
        elif task == "denoise":
            lines, page, value = _denoise((model, loaded), home, screen, n, seed, data, noisy)
        else:
            lines, page, value = _generate((model, loaded), home, screen, order)
    for line in (*lines, str(page)):
        say(line)
    answer({**value, "report": str(page)}, json)


Outcome = tuple[list[str], Path, Json]
"""Lines for people, the page, and what --json prints beside it."""
Named = tuple[str, "Model"]
"""A model, and its name as it was given."""


def _generate(model: Named, home: Path, screen: Screen, order: Order) -> Outcome:
    from sfumato.judging import model as judging
    from sfumato.judging.report import write

    judged = judging.judge(model[1], order, screen, screen.stop, model[0])
    return [*judged.warnings, judged.verdict.words()], write(judged, home), judged.to_json()


def _denoise(
    model: Named, home: Path, screen: Screen, n: int | None, seed: int, data: str | None, noisy: Noisy
) -> Outcome:
    from sfumato.judging.denoise import judge_denoised
    from sfumato.judging.report import write_denoised

    name, loaded = model
    judged = judge_denoised(loaded, noisy, n=n, data=data, seed=seed, progress=screen, stop=screen.stop, given=name)
    return [judged.words()], write_denoised(loaded, judged, home), {"model": loaded.name, **judged.to_json()}


def _text(model: Model, home: Path, screen: Screen, n: int, seed: int, sampling: Sampling) -> Outcome:
    from sfumato.judging.emoji import judge_emoji
    from sfumato.judging.report import write_emoji

    if model.source != "emoji":
        raise UserError(
            f"{model.name} was not trained on emoji, whose prompts alone can be checked: use --task generate"
        )
    judged = judge_emoji(model, n=n, seed=seed, sampling=sampling, progress=screen, stop=screen.stop)
    lines = [*judged.warnings, judged.words()]
    return lines, write_emoji(model, judged, home), {"model": model.name, **judged.to_json()}


def _home(name: str, model: Model) -> Path:
    """The default folder of a report: the run folder, judge in the folder of a tuning, or judge-MODEL.

    A tuning has a report of its own, which must not be replaced.
    """
    from sfumato.models.names import is_tuned

    folder = Path(name)
    if is_tuned(folder):
        return folder / "judge"
    return folder if (folder / "recipe.yaml").is_file() else Path(f"judge-{model.name}")


def compare(
    a: str = typer.Argument(..., help="A model, as for judge."),
    b: str = typer.Argument(..., help="Another model."),
    n: int = N,
    data: str = DATA,
    features: str = FEATURES,
    steps: int = STEPS,
    sampler: str = SAMPLER,
    guidance: float = GUIDANCE,
    seed: int = SEED,
    out: Path = typer.Option(None, "--out", help="Folder for the page [default: compare-A-B]."),
    events: bool = EVENTS,
    json: bool = JSON,
) -> None:
    """Compare two models with the same seeds: pictures, curves, distances with intervals, seconds per picture."""
    check_folder(out or Path())
    with Screen(json, events) as screen:
        first, second = api.compare(
            a, b, n=n, data=data, features=features, seed=seed, sampling=Sampling(steps, sampler, guidance),
            progress=screen,
        )  # fmt: skip
    from sfumato.judging.report import words_of, write_comparison

    folder = out or Path(f"compare-{first.model.name}-{second.model.name}")
    page = write_comparison(first, second, (a, b), folder)
    for line in dict.fromkeys((*first.warnings, *second.warnings)):
        say(line)
    say(words_of(first, second))
    say(str(page))
    verdict = words_of(first, second)
    answer({"a": first.to_json(), "b": second.to_json(), "verdict": verdict, "report": str(page)}, json)
