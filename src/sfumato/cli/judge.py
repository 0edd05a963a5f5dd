"""`sfumato judge` and `sfumato compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sfumato.cli.console import EVENTS, JSON, answer, say
from sfumato.cli.screen import Screen
from sfumato.errors import UserError

if TYPE_CHECKING:
    from sfumato.judging.denoise import DenoiseVerdict
    from sfumato.judging.emoji import EmojiVerdict
    from sfumato.models.model import Model

N = typer.Option(None, "-n", min=4, help="Number of pictures; more gives narrower intervals [default: the recipe's].")
DATA = typer.Option(
    None, "--data", help="Compare with these pictures, a folder or data set [default: those of the training]."
)
FEATURES = typer.Option(
    None,
    "--features",
    help="Features for the distances: mini (offline), dinov2, clip, inception (for FID), or its file.",
)
STEPS = typer.Option(None, "--steps", min=1, help="Steps of the sampler [default: the model's].")
SAMPLER = typer.Option(
    None, "--sampler", help="ddpm, ddim, euler, heun, dpm++2m or dpm++2m-sde [default: the model's]."
)
GUIDANCE = typer.Option(None, "--guidance", help="Classifier-free guidance; 1: none [default: the model's].")
SEED = typer.Option(0, "--seed", min=0, help="Seed of the first picture; picture k has SEED + k.")


def judge(
    model: str = typer.Argument(..., help="A run folder, a checkpoint, or a shipped model."),
    task: str = typer.Option(None, "--task", help="generate, denoise or text [default: the model's own task]."),
    n: int = N,
    data: str = DATA,
    features: str = FEATURES,
    steps: int = STEPS,
    sampler: str = SAMPLER,
    guidance: float = GUIDANCE,
    sigma: float = typer.Option(0.2, "--sigma", help="denoise: standard deviation of the added noise, white being 1."),
    clip: bool = typer.Option(
        True, "--clip/--no-clip", help="denoise: clip noisy pictures to black and white, as files are."
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
        help="Folder for report.html and report.json [default: the run folder, or judge-MODEL].",
    ),
    events: bool = EVENTS,
    json: bool = JSON,
) -> None:
    """Measure how good a model is, and write report.html.

    generate: how close its pictures are to real ones, how varied, and whether any is copied. denoise: PSNR and SSIM on
    held-out pictures. text: whether it draws what prompts say (models trained on emoji).

    Figures have 95 % intervals; distances also have a floor, the value that real pictures reach.
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
            loaded, n=n, data=data, features=features, seed=seed, progress=screen,
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
        raise UserError(
            f"{model.name} was not trained on emoji, whose prompts alone can be checked: use --task generate"
        )
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
    """The default folder of a report: the run folder, or judge-MODEL."""
    return Path(name) if (Path(name) / "recipe.yaml").is_file() else Path(f"judge-{model.name}")


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
