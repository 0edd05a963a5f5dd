"""The files of a finished tuning: PEFT's folder, one file with kohya's keys and metadata, and a model card."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from sfumato.files import Json, write_json, write_text
from sfumato.lora.adapter import without
from sfumato.lora.formats import write_kohya, write_peft
from sfumato.lora.lora import Lora
from sfumato.lora.origin import Origin
from sfumato.lora.plain import plain
from sfumato.models.bases import NAMES
from sfumato.models.latent import LatentModel
from sfumato.recipe.recipe import Recipe
from sfumato.version import __version__

CARD, README = "card.json", "README.md"


def write(lora: Lora, folder: Path, recipe: Recipe, model: LatentModel, step: int, facts: Json) -> Path:
    """Write PEFT's files, NAME.safetensors, card.json and README.md into `folder`; returns the file with kohya's keys.

    A DoRA's magnitudes are in PEFT's files; programs for kohya's keys read them differently, so that NAME.safetensors
    has the whole change as a plain LoRA.

    step: the chosen optimiser step; facts: more for the card (JSON). Raises UserError if the disk is full.
    """
    name = recipe.name
    write_peft(lora, folder, known_as(recipe), recipe.tune.rank_stabilised, made_for(recipe, model).header())
    with without(model.net):  # DoRA's magnitudes are relative to the base's own weights
        simple = plain(lora, model.net)
    path = write_kohya(simple, folder / f"{name}.safetensors", metadata(recipe, model, step))
    card = {
        "name": name, "base": recipe.tune.base, "trigger": recipe.tune.trigger, "noun": recipe.tune.noun, "step": step,
        "rank": recipe.tune.rank, "alpha": recipe.tune.alpha, "sfumato": __version__, **facts,
    }  # fmt: skip
    write_json(folder / CARD, card)
    write_text(folder / README, readme(recipe, model, step))
    return path


def metadata(recipe: Recipe, model: LatentModel, step: int) -> dict[str, str]:
    """The header of the file for sd-scripts, A1111 and the modelspec (1.0.1), all values as texts.

    A DoRA is written as a LoRA whose rank differs from layer to layer, which sd-scripts calls Dynamic.
    """
    s, (_, height, width) = recipe.tune, model.shape
    thing = f"{s.trigger} {s.noun}"
    return {
        **model.family.header(model), **_own(model), "ss_output_name": recipe.name,
        "ss_network_module": "networks.lora",
        "ss_network_dim": "Dynamic" if s.dora else str(s.rank),
        "ss_network_alpha": "Dynamic" if s.dora else str(s.alpha), "ss_network_args": "{}", "ss_sd_model_name": s.base,
        "ss_resolution": f"({width}, {height})", "ss_steps": str(step), "ss_learning_rate": str(recipe.train.lr),
        "ss_seed": str(recipe.train.seed), "ss_tag_frequency": json.dumps({recipe.name: {thing: 1}}),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.implementation": "diffusers", "modelspec.title": recipe.name,
        "modelspec.resolution": f"{width}x{height}", **made_for(recipe, model).header(),
        "modelspec.date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "modelspec.description": f"{thing}, learned by sfumato {__version__}",
    }  # fmt: skip


def only_for(model: LatentModel) -> bool:
    """Whether the base has Stable Diffusion's form and not its size, so that no other program can load its LoRAs."""
    return model.source == "emoji" or model.recipe is not None


def _own(model: LatentModel) -> dict[str, str]:
    """The name of a base of sfumato in place of the family's, which would promise that other programs take the LoRA."""
    if not only_for(model):
        return {}
    base = model.name
    return {
        "ss_base_model_version": base, "modelspec.architecture": f"{base}/lora",
        "modelspec.usage_hint": f"only for {base}, with sfumato or diffusers",
    }  # fmt: skip


def made_for(recipe: Recipe, model: LatentModel) -> Origin:
    """The base, its version, and the name of the thing."""
    return Origin.of(model.identity, recipe.tune.base, f"{recipe.tune.trigger} {recipe.tune.noun}")


def known_as(recipe: Recipe) -> str:
    """The base's Hub id if it has one, else its name."""
    return NAMES.get(recipe.tune.base, recipe.tune.base)


def readme(recipe: Recipe, model: LatentModel, step: int) -> str:
    """The Hub's model card."""
    s, name = recipe.tune, recipe.name
    thing = f"{s.trigger} {s.noun}"
    front = {"base_model": known_as(recipe), "library_name": "diffusers", "instance_prompt": f"a {thing}"}
    head = "\n".join(f"{key}: {value}" for key, value in front.items())
    use = f"Use `{name}.safetensors` in ComfyUI and A1111, and this folder in PEFT."
    if only_for(model):
        use = f"It is only for {model.name}, with sfumato or diffusers: ComfyUI and A1111 cannot load that base."
    large = (
        f"\n\nIt is a DoRA; `{name}.safetensors` holds the same change as a plain LoRA of high rank." if s.dora else ""
    )
    python = model.family.usage(f"{name}.safetensors")
    return f"""---
{head}
tags: [text-to-image, lora, sfumato]
---
# {name}

A LoRA of rank {s.rank} for `{s.base}` that draws one thing under the name "{thing}", from step {step} of its training.

```
sfumato sample {s.base} --lora . --prompt "a {thing} on a road"
```

```python
{python}
```

{use} `report.html` shows how good it is.{large}
"""
