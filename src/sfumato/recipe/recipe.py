"""Recipes: all settings of a run, checked before it starts.

A recipe is YAML with sections such as `data`, `net`, `noise`, `train`, `sample` and `judge`. Every value has a
default; `KEY=VALUE` overrides one by its dotted path (`train.images=200000`, `data.labels=[cat]`).
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from sfumato import registry, yaml12
from sfumato.errors import UserError, listed
from sfumato.files import Facts, Json
from sfumato.recipe import mistakes
from sfumato.recipe.sections import Data, Judge, Net, Noise, Options, Sample, Section, TaskName, Text, Train, Tune


class Recipe(Section):
    """All settings of a run."""

    name: str = Field("", description="name of the run in logs and trackers; empty: the file's or the folder's")
    task: TaskName = Field(
        "generate",
        description="what is learned; generate: to draw pictures; denoise: to clean them of noise; features: to tell "
        "labels apart; autoencoder: to encode pictures as latents; text: to draw pictures from prompts; tune: a LoRA",
    )
    options: Options = Field(Options(), description="arguments of a task of your own, by name")
    about: str = Field("", description="one line about the recipe, for a reader")
    data: Data = Data()
    net: Net = Net()
    noise: Noise = Noise()
    text: Text = Text()
    tune: Tune = Tune()
    train: Train = Train()
    sample: Sample = Sample()
    judge: Judge = Judge()

    def with_(self, changes: Mapping[str, object]) -> Recipe:
        """A new recipe with values changed by dotted path: `recipe.with_({"train.lr": 1e-3, "data.flip": False})`.

        A key may also be a whole section. All changes are checked together. Raises UserError on an invalid one.
        """
        plain = [(k, v.model_dump() if isinstance(v, Section) else copy.deepcopy(v)) for k, v in changes.items()]
        values = self.model_dump()
        _make_way(values, plain)
        for key, value in plain:
            _lay(values, key, value, f"{key}={mistakes.brief(value)}")
        return build(values)

    def in_images(self, pictures: int) -> Recipe:
        """The recipe with `train.epochs` converted to `train.images`; the same recipe if it has no epochs."""
        if self.train.epochs is None:
            return self
        return self.with_({"train.images": max(1, round(self.train.epochs * pictures))})

    def trust(self) -> None:
        """Allow things of other packages (`package.module:Name`) in the recipe. Only for one that a person wrote."""
        for name in (self.task, self.net.kind, self.noise.schedule, self.sample.sampler, self.data.source):
            registry.trust(name)
        for name in (self.judge.features, *self.judge.metrics):
            registry.trust(name)

    def dump(self) -> str:
        """The recipe as YAML."""
        return yaml12.write(self.model_dump(mode="json"))


def shipped() -> dict[str, Path]:
    """The recipes that come with sfumato, by name."""
    folder = Path(str(resources.files("sfumato") / "recipe" / "shipped"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load(name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe by its path or the name of a shipped one, with `KEY=VALUE` overrides.

    Raises UserError naming the file, the key and the nearest valid key.
    """
    path = Path(name)
    there = _is_file(path)
    if path.suffix not in (".yaml", ".yml") or not there:
        if there:
            raise UserError(f"{name} is a file but no recipe (.yaml): name one, or a folder of pictures")
        if str(name) not in shipped():
            near = difflib.get_close_matches(str(name), shipped(), 1)
            hint = f"did you mean {near[0]}?" if near else f"shipped recipes: {', '.join(shipped())}"
            raise UserError(f"no recipe, file or folder named {mistakes.shown(str(name), 200)}; {hint}")
        path = shipped()[str(name)]
    try:
        values = yaml12.read(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"{path}: not readable as YAML ({mistakes.shown(' '.join(str(error).split()), 300)})"
        ) from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: a recipe is a mapping with sections {', '.join(Recipe.model_fields)}")
    values.setdefault("name", path.stem)
    return build(values, overrides, str(path))


def check(what: str | Path | Recipe, overrides: Iterable[str] = ()) -> None:
    """Raises UserError for a wrong name, file or override; opens no data.

    what: as for `sfumato.train`.
    """
    if what == "":
        raise UserError("the name is empty: give a recipe, a folder of pictures or a run folder; . is this folder")
    if isinstance(what, Recipe):
        build(what.model_dump(), overrides)
    elif _is_file(Path(what) / "recipe.yaml"):
        load(Path(what) / "recipe.yaml", overrides)
    elif _is_folder(Path(what)) or ("/" in str(what) and Path(what).suffix not in (".yaml", ".yml")):
        build({"data": {"source": str(what)}}, overrides)  # pictures in a folder, or on the Hub
    else:
        load(what, overrides)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for a file
        return False


def build(values: Facts, overrides: Iterable[str] = (), where: str = "recipe") -> Recipe:
    """The recipe of plain values with overrides. Raises UserError on invalid ones."""
    given = {key: value for key, value in values.items() if value is not None}  # a section without keys
    merged: Json = {key: dict(value) if isinstance(value, dict) else value for key, value in given.items()}
    overrides = listed("overrides", overrides)
    parsed = [parse_override(text) for text in overrides]
    if strange := "; ".join(filter(None, map(_unknown, parsed, overrides))):
        raise UserError(strange)
    _make_way(merged, parsed)
    for (key, value), text in zip(parsed, overrides, strict=True):
        _lay(merged, key, value, text)
        for each in value if isinstance(value, list) else [value]:
            registry.trust(each)  # a person has typed it
    if strange := mistakes.unknown_keys(merged, Recipe):
        raise UserError(f"{where}: {strange}")
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        raise UserError(f"{where}: {mistakes.first_trouble(error)}") from error


def _unknown(parsed: tuple[str, object], text: str) -> str:
    """What is wrong with the key of an override, which no file is to blame for; "" if it exists."""
    key, value = parsed
    alone: Json = {}
    _lay(alone, key, value, text)
    trouble = mistakes.unknown_keys(alone, Recipe)
    own = trouble.replace(f"unknown key {mistakes.shown(key)};", "unknown key;", 1)
    return trouble and f"{mistakes.shown(text, 200)}: {own}"


def _make_way(values: Json, changes: Iterable[tuple[str, object]]) -> None:
    """Remove the length that a change replaces: `train.images` by `train.epochs`, or the other way round."""
    train = values.get("train")
    for key, value in changes:
        other = {"train.epochs": "images", "train.images": "epochs"}.get(key)
        if other and value is not None and isinstance(train, dict):
            train.pop(other, None)


def _lay(values: Json, key: str, value: object, text: str) -> None:
    """Set the value at a dotted path. text: the override, for the error."""
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"{mistakes.shown(text, 200)}: {mistakes.shown(parent)} is not a section")
    values[last] = value


def parse_override(text: str) -> tuple[str, object]:
    """`train.batch=64` -> ("train.batch", 64); the value is read as YAML."""
    key, equals, value = text.partition("=")
    shown = mistakes.shown(text, 200)
    if not equals or not key.strip():
        raise UserError(f"{shown}: an override is KEY=VALUE, as in train.batch=64")
    try:
        return key.strip(), yaml12.read(value)
    except yaml.YAMLError as error:
        raise UserError(f"{shown}: the value is not readable as YAML") from error
