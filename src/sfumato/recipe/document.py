"""Generates docs/recipes.md from the sections: `python -m sfumato.recipe.document > docs/recipes.md`."""

from __future__ import annotations

import sys

from sfumato.recipe.explain import Entry, headings
from sfumato.recipe.mistakes import OTHERS
from sfumato.recipe.recipe import load, shipped

HEAD = """\
# Recipes

A recipe holds all settings of a run, in YAML. Print one with a comment on every line, edit it, and train it:

```
sfumato recipe cifar10 > my.yaml
sfumato train my.yaml
```

A file needs only the values that differ from the defaults. `KEY=VALUE` after a command changes one value by its dotted
path, and takes precedence over the file: `sfumato train my.yaml train.lr=5e-4 data.labels=[cat]`. From Python:

```python
from sfumato.recipe.mistakes import OTHERS
from sfumato.recipe.recipe import load

recipe = load("cifar10").with_({"train.lr": 5e-4, "data.labels": ("cat",)})
```

A recipe cannot be changed in place; `with_` checks the changes and returns a new recipe. An unknown key is an error,
which names the key that was probably meant. [The glossary](glossary.md) explains the terms.

This page is generated from the code: `python -m sfumato.recipe.document > docs/recipes.md`.
"""


def page() -> str:
    """The text of docs/recipes.md."""
    names = ["| recipe | what it does |", "|---|---|"]
    names += [f"| `{name}` | {_cell(load(name).about)} |" for name in shipped()]
    parts = [HEAD, "## Shipped recipes\n", "\n".join(names) + "\n"]
    for heading in headings():
        title = f"## `{heading.name}`" if heading.name else "## Outside all sections"
        rows = ["| key | meaning | values | default |", "|---|---|---|---|", *map(_row, heading.entries)]
        parts += [title + "\n", heading.meaning + "\n", "\n".join(rows) + "\n"]
    rows = ["| there | here |", "|---|---|"]
    for place, others in OTHERS.items():
        there = ", ".join(f"`{name}`" for name in others.split())
        rows.append(f"| {there} | {_cell(place.removeprefix('here it is '))} |")
    parts += ["## Names in other projects\n", "\n".join(rows) + "\n"]
    return "\n".join(parts)


def _row(entry: Entry) -> str:
    default = entry.default if entry.default in ("left out", "empty") else f"`{entry.default}`"
    return f"| `{entry.key}` | {_cell(entry.meaning)} | {_cell(entry.values)} | {default} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
