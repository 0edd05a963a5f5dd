"""`sfumato judge` and `sfumato compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sfumato.cli.console import EVENTS, JSON, SAMPLERS, answer, say
from sfumato.cli.screen import Screen
from sfumato.errors import UserError

if TYPE_CHECKING:
    from sfumato.judging.denoise import DenoiseVerdict
    from sfumato.judging.emoji import EmojiVerdict
    from sfumato.models.model import Model

N = typer.Option(None, "-n", min=4, help="Pictures to draw [default: the recipe's].")
DATA = typer.Option(None, "--data", help="Judge against another source than the model's own.")
FEATURES = typer.Option(
    None,
    "--features",
    help="mini (offline), inception (the only FID) or its file, dinov2, clip, or your own as package.module:Name.",
)
METRIC = typer.Option(None, "--metric", help="A further figure: coverage, or your own as package.module:Name.")
STEPS = typer.Option(None, "--steps", min=1, help="Steps of the sampler.")
SAMPLER = typer.Option(None, "--sampler", help=SAMPLERS)
GUIDANCE = typer.Option(None, "--guidance", help="Classifier-free guidance; 1 is none.")
SEED = typer.Option(0, "--seed", min=0, help="Picture k has the seed SEED + k.")


def judge(
    model: str = typer.Argument(..., help="A run folder, a checkpoint of it, or the name of a shipped model."),
    task: str = typer.Option(None, "--task", help="generate, denoise or text [default: what it was trained for]."),
    n: int = N,
    data: str = DATA,
    features: str = FEATURES,
    metric: list[str] = METRIC,
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
    from sfumato.judging import model as judging
    from sfumato.judging.report import write
    from sfumato.zoo import load

    if task not in (None, "generate", "denoise", "text"):
        raise UserError(f"--task {task}: a model is judged as generate, denoise or text")
    loaded = load(model)
    known = loaded.source == "emoji" or loaded.task != "text"
    task = task or (loaded.task if known else "generate")
    if task == "text":
        _text(
            model, loaded, out, (json, events), n=n or 300, seed=seed, steps=steps, sampler=sampler, guidance=guidance
        )
        return
    if task == "denoise":
        _denoise(
            model,
            loaded,
            out,
            (json, events),
            n=n,
            data=data,
            sigma=sigma,
            clip=clip,
            blind=blind,
            correct=correct,
            mirror=mirror,
            seed=seed,
        )
        return
    with Screen(json, events) as screen:
        found = judging.judge(
            loaded, n=n, data=data, features=features, metrics=metric or (), seed=seed, progress=screen,
            steps=steps, sampler=sampler, guidance=guidance,
        )  # fmt: skip
    page = write(found, out or _home(model, loaded))
    for line in found.warnings:
        say(line)
    say(found.verdict.words())
    say(str(page))
    answer({**found.to_json(), "report": str(page)}, json)


def _denoise(name: str, model: Model, out: Path | None, output: tuple[bool, bool], **options: Any) -> None:
    from sfumato.judging.denoise import judge_denoised
    from sfumato.judging.report import write_denoised

    with Screen(*output) as screen:
        verdict = judge_denoised(model, progress=screen, **options)
    _tell(model, verdict, write_denoised(model, verdict, out or _home(name, model)), output[0])


def _text(name: str, model: Model, out: Path | None, output: tuple[bool, bool], **options: Any) -> None:
    from sfumato.judging.emoji import judge_emoji
    from sfumato.judging.report import write_emoji

    if model.source != "emoji":
        raise UserError(f"{model.name} did not learn the emoji, whose prompts alone can be checked: --task generate")
    with Screen(*output) as screen:
        verdict = judge_emoji(model, progress=screen, **options)
    for line in verdict.warnings:
        say(line)
    _tell(model, verdict, write_emoji(model, verdict, out or _home(name, model)), output[0])


def _tell(model: Model, verdict: DenoiseVerdict | EmojiVerdict, page: Path, json: bool) -> None:
    say(verdict.words())
    say(str(page))
    answer({"model": model.name, **verdict.to_json(), "report": str(page)}, json)


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
    from sfumato.judging import model as judging
    from sfumato.judging.report import words_of, write_comparison

    options: dict[str, Any] = {"steps": steps, "sampler": sampler, "guidance": guidance}
    with Screen(json, events) as screen:
        first, second = judging.compare(a, b, n=n, data=data, features=features, seed=seed, progress=screen, **options)
    folder = out or Path(f"compare-{first.model.name}-{second.model.name}")
    page = write_comparison(first, second, (a, b), folder)
    for line in dict.fromkeys((*first.warnings, *second.warnings)):
        say(line)
    say(words_of(first, second))
    say(str(page))
    verdict = words_of(first, second)
    answer({"a": first.to_json(), "b": second.to_json(), "verdict": verdict, "report": str(page)}, json)
