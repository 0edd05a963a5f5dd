"""`sfumato judge` and `sfumato compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from sfumato.cli.console import JSON, answer, say, stages
from sfumato.errors import UserError

N = typer.Option(None, "-n", min=4, help="Pictures to draw [default: the recipe's].")
DATA = typer.Option(None, "--data", help="Judge against another source than the model's own.")
FEATURES = typer.Option(None, "--features", help="mini (offline), inception (the only FID), dinov2 or clip.")
STEPS = typer.Option(None, "--steps", min=1, help="Steps of the sampler.")
SAMPLER = typer.Option(None, "--sampler", help="ddpm, ddim, euler, heun, dpm++2m or dpm++2m-sde.")
GUIDANCE = typer.Option(None, "--guidance", help="Classifier-free guidance; 1 is none.")
SEED = typer.Option(0, "--seed", min=0, help="Picture k has the seed SEED + k.")


def judge(
    model: str = typer.Argument(..., help="A run folder, a checkpoint of it, or the name of a shipped model."),
    task: str = typer.Option("generate", "--task", help="generate."),
    n: int = N,
    data: str = DATA,
    features: str = FEATURES,
    steps: int = STEPS,
    sampler: str = SAMPLER,
    guidance: float = GUIDANCE,
    seed: int = SEED,
    out: Path = typer.Option(
        None,
        "--out",
        help="Folder for report.html and report.json [default: the run folder, or judge-MODEL].",
    ),
    json: bool = JSON,
) -> None:
    """Draw pictures from a model and say how good they are, with an interval, a floor, and a check for copies."""
    from sfumato.judge import model as judging
    from sfumato.judge.report import write

    if task != "generate":
        raise UserError(f"--task {task}: this model is judged as generate")
    with stages() as tell:
        found = judging.judge(
            model, n=n, data=data, features=features, seed=seed, progress=tell,
            steps=steps, sampler=sampler, guidance=guidance,
        )  # fmt: skip
    folder = out or (Path(model) if (Path(model) / "recipe.yaml").is_file() else Path(f"judge-{found.model.name}"))
    page = write(found, folder)
    say(found.verdict.words())
    say(str(page))
    if json:
        answer({**found.to_json(), "report": str(page)})


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
    json: bool = JSON,
) -> None:
    """Two models side by side: the same seeds, their curves, their distances with intervals, and what each costs."""
    from sfumato.judge import model as judging
    from sfumato.judge.report import words_of, write_comparison

    options: dict[str, Any] = {"steps": steps, "sampler": sampler, "guidance": guidance}
    with stages() as tell:
        first, second = judging.compare(a, b, n=n, data=data, features=features, seed=seed, progress=tell, **options)
    folder = out or Path(f"compare-{first.model.name}-{second.model.name}")
    page = write_comparison(first, second, (a, b), folder)
    say(words_of(first, second))
    say(str(page))
    if json:
        answer(
            {
                "a": first.to_json(),
                "b": second.to_json(),
                "verdict": words_of(first, second),
                "report": str(page),
            }
        )
