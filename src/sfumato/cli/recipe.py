"""`sfumato recipe`."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from sfumato.cli.console import JSON, answer


def recipe(
    name: str = typer.Argument(None, metavar="[NAME]", help="A shipped recipe, a YAML file or a run folder."),
    overrides: list[str] = typer.Argument(
        None, metavar="[KEY=VALUE]...", help="Change settings of the recipe: train.images=200000 data.labels=[cat]"
    ),
    json: bool = JSON,
) -> None:
    """Print a recipe, all settings of a training, with a comment on every line. Without NAME: list shipped recipes.

    sfumato recipe cifar10 > my.yaml

    sfumato train my.yaml
    """
    from sfumato.recipe.explain import explain
    from sfumato.recipe.recipe import load, shipped

    if name is None:
        known = {each: load(each).about for each in shipped()}
        if json:
            answer({"recipes": known})
            return
        width = max(map(len, known))
        for each, about in known.items():
            print(f"{each:<{width}}  {about}")
        return
    run = Path(name) / "recipe.yaml"
    chosen = load(run if name and run.is_file() else name, overrides or ())
    if json:
        answer(chosen.model_dump(mode="json"))
    else:
        sys.stdout.write(explain(chosen))
