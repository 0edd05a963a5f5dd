"""`sfumato judge` and `sfumato compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sfumato import api
from sfumato.cli.console import EVENTS, JSON, answer, say
from sfumato.cli.screen import Screen
from sfumato.errors import UserError
from sfumato.files import Json
from sfumato.judging.noisy import Noisy
from sfumato.models.sampling import Sampling

if TYPE_CHECKING:
    from sfumato.models.model import Model

N = typer.Option(None, "-n", min=4, help="Pictures to draw [default: the recipe's].")
DATA = typer.Option(None, "--data", help="Judge against another source than the model's own.")
FEATURES = typer.Option(None, "--features", help="mini (offline), inception (the only FID) or its file, dinov2, clip.")
STEPS = typer.Option(None, "--steps", min=1, help="Steps of the sampler.")
SAMPLER = typer.Option(None, "--sampler", help="ddpm, ddim, euler, heun, dpm++2m or dpm++2m-sde.")
GUIDANCE = typer.Option(None, "--guidance", help="Classifier-free guidance; 1 is none.")
SEED = typer.Option(0, "--seed", min=0, help="Picture k has the seed SEED + k.")


def judge(
    model: str = typer.Argument(..., help="A run folder, a checkpoint of it, or the name of a shipped model."),
    task: str = typer.Option(None, "--task", help="generate, denoise or text [default: what it was trained for]."),
    n: int = N,
    data: str = DATA,
    features: str = FEATURES,
    steps: int = STEPS,
    sampler: str = SAMPLER,
    guidance: float = GUIDANCE,
    sigma: float = typer.Option(0.2, "--sigma", help="denoise: the noise added, on pictures in [0, 1]."),
    clip: bool = typer.Option(True, "--clip/--no-clip", help="denoise: cut noisy pictures to their range, as files."),
    blind: bool = typer.Option(False, "--blind", help="denoise: do not tell the model the noise level."),
    mirror: bool = typer.Option(False, "--mirror", help="denoise: average with the mirrored picture's answer."),
    correct: bool = typer.Option(
        True, "--correct/--no-correct", help="denoise: let a model that knows pure noise alone make up for clipping."
    ),
    seed: int = SEED,
    out: Path = typer.Option(
        None,
        "--out",
        help="Folder for report.html and report.json [default: the run folder, or judge-MODEL].",
    ),
    events: bool = EVENTS,
    json: bool = JSON,
) -> None:
    """Say how good a model is: of pictures it draws, of noisy pictures it cleans, or of prompts that can be checked.

    Every figure comes with an interval, and with the floor that real pictures set.
    """
    from sfumato.models.names import check

    if task not in (None, "generate", "denoise", "text"):
        raise UserError(f"--task {task}: a model is judged as generate, denoise or text")
    sampling = Sampling(steps, sampler, guidance)
    sampling.check()
    noisy = Noisy(sigma, clip, blind, correct, mirror)
    noisy.check()
    check(model)
    from sfumato.zoo import opened

    with Screen(json, events) as screen:
        loaded = opened(model, screen, screen.stop)
        known = loaded.source == "emoji" or loaded.task != "text"
        task = task or (loaded.task if known else "generate")
        home = out or _home(model, loaded)
        if task == "text":
            told, page, value = _text(loaded, home, screen, n or 300, seed, sampling)
        elif task == "denoise":
            told, page, value = _denoise(loaded, home, screen, n, seed, data, noisy)
        else:
            told, page, value = _generate(loaded, home, screen, n, seed, data, features, sampling)
    for line in (*told, str(page)):
        say(line)
    answer({**value, "report": str(page)}, json)


Told = tuple[list[str], Path, Json]
"""Lines for people, the page, and what --json prints beside it."""


def _generate(
    model: Model, home: Path, screen: Screen, n: int | None, seed: int, data: str | None, features: str | None,
    sampling: Sampling,
) -> Told:  # fmt: skip
    from sfumato.judging import model as judging
    from sfumato.judging.report import write

    found = judging.judge(
        model, n=n, data=data, features=features, seed=seed, sampling=sampling, progress=screen, stop=screen.stop
    )
    return [*found.warnings, found.verdict.words()], write(found, home), found.to_json()


def _denoise(
    model: Model, home: Path, screen: Screen, n: int | None, seed: int, data: str | None, noisy: Noisy
) -> Told:
    from sfumato.judging.denoise import judge_denoised
    from sfumato.judging.report import write_denoised

    found = judge_denoised(model, noisy, n=n, data=data, seed=seed, progress=screen, stop=screen.stop)
    return [found.words()], write_denoised(model, found, home), {"model": model.name, **found.to_json()}


def _text(model: Model, home: Path, screen: Screen, n: int, seed: int, sampling: Sampling) -> Told:
    from sfumato.judging.emoji import judge_emoji
    from sfumato.judging.report import write_emoji

    if model.source != "emoji":
        raise UserError(f"{model.name} did not learn the emoji, whose prompts alone can be checked: --task generate")
    found = judge_emoji(model, n=n, seed=seed, sampling=sampling, progress=screen, stop=screen.stop)
    lines = [*found.warnings, found.words()]
    return lines, write_emoji(model, found, home), {"model": model.name, **found.to_json()}


def _home(name: str, model: Model) -> Path:
    """Where a report lies if nothing else is said: in the run folder, or one of its own."""
    return Path(name) if (Path(name) / "recipe.yaml").is_file() else Path(f"judge-{model.name}")


def compare(
    a: str = typer.Argument(..., help="A model."),
    b: str = typer.Argument(..., help="Another."),
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
    """Two models side by side: the same seeds, their curves, their distances with intervals, and what each costs."""
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
