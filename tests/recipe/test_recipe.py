"""Recipes: what is written is read again, what is wrong is named, in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sfumato import yaml12
from sfumato.errors import UserError
from sfumato.models.named import net_of, schedule_of
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe import recipe as recipes
from sfumato.recipe.recipe import Recipe, build, load, parse_override, shipped
from sfumato.recipe.sections import Data, Section

finite = st.floats(1e-6, 1e6, allow_nan=False)
rising = st.lists(finite, min_size=2, max_size=2, unique=True).map(lambda ends: tuple(sorted(ends)))
text = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12)
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "name": text,
        "about": text,
        "data": st.fixed_dictionaries(
            {},
            optional={
                "source": text,
                "image_size": st.none() | st.integers(8, 1024) | st.tuples(st.integers(8, 1024), st.integers(8, 1024)),
                "grey": st.none() | st.booleans(),
                "labels": st.none() | st.lists(text, max_size=3),
                "condition": st.sampled_from(["none", "class", "words"]),
                "held_out": st.floats(1e-3, 0.49),
            },
        ),
        "net": st.fixed_dictionaries(
            {},
            optional={
                "preset": st.sampled_from(["tiny", "small", "medium", "large", "huge"]),
                "channels": st.none() | st.lists(st.integers(1, 64), min_size=1, max_size=3),
                "attention": st.none() | st.lists(st.booleans(), min_size=1, max_size=3),
                "stem": st.sampled_from([None, 1, 2, 4]),
            },
        ),
        "train": st.fixed_dictionaries(
            {},
            optional={
                "lr": finite,
                "images": st.integers(1, 10**9),
                "betas": st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2),
                "ema": st.lists(st.floats(0.005, 0.28), min_size=1, max_size=3, unique=True),
                "seed": st.integers(0, 2**63 - 1),
            },
        ),
        "sample": st.fixed_dictionaries({}, optional={"interval": st.none() | rising}),
    },
)


def words_of(caught: pytest.ExceptionInfo[UserError]) -> str:
    words = str(caught.value)
    assert "\n" not in words
    return words


def write(folder: Path, content: str | bytes, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@settings(max_examples=80)
@given(SECTIONS)
def test_what_is_dumped_is_loaded_again(values: dict[str, Any]) -> None:
    recipe = build(values)
    again = build(yaml12.read(recipe.dump()))
    assert again == recipe
    assert again.dump() == recipe.dump()
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_a_file_is_loaded_again_under_any_name(tmp_path: Path) -> None:
    for name in ("yes", "1e3", "null", "~", "Ärger: # 1"):
        recipe = build({"name": name, "data": {"source": name, "labels": [name]}})
        assert load(write(tmp_path, recipe.dump())) == recipe
    assert load(write(tmp_path, "about: no name", "photos.yml")).name == "photos"


@pytest.mark.parametrize("name", [name for name in shipped() if "tune" not in name])
def test_shipped_recipes_make_a_network_of_their_size(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name
    assert recipe.about
    assert recipe.about.count("\n") == 0
    assert recipe.data.source in ("cifar10", "shapes", "emoji", "bsds500")
    assert isinstance(recipe.data.image_size, int)
    path = schedule_of(recipe.noise).path(recipe.sample.steps)
    assert len(path) == recipe.sample.steps + 1
    if recipe.task == "generate":
        side = recipe.data.image_size
        kind = recipe.data.condition
        vocabulary = Vocabulary(kind, [] if kind == "none" else ["a", "b"], {"none": 0, "class": 1, "words": 7}[kind])
        net = net_of(recipe.net, (3, side, side), vocabulary).eval()
        told = None if kind == "none" else torch.zeros(1, vocabulary.length, dtype=torch.long)
        with torch.inference_mode():
            assert net(torch.zeros(1, 3, side, side), torch.zeros(1), told).shape == (1, 3, side, side)
    assert load(name, ["train.images=5"]).train.images == 5


def test_the_seeds_recipes_say_what_the_seeds_did() -> None:
    plain, cat = load("seed-ddpm-32"), load("seed-ddpm-cat-128")
    for recipe in (plain, cat):
        noise = recipe.noise
        assert (noise.schedule, noise.prediction, noise.weighting, noise.timesteps) == (
            "linear",
            "epsilon",
            "uniform",
            1000,
        )
        assert (recipe.sample.sampler, recipe.sample.steps) == ("ddpm", 1000)
    assert (cat.data.labels, cat.data.image_size) == (("cat",), 128)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("train.images=200000", "train.images", 200_000),
        ("train.images=2e5", "train.images", 200_000),
        ("train.lr=1e-4", "train.lr", 1e-4),
        ("train.lr=.5", "train.lr", 0.5),
        ("data.labels=[cat, dog]", "data.labels", ("cat", "dog")),
        ("data.labels=null", "data.labels", None),
        ("data.labels=", "data.labels", None),
        ("data.image_size=[32, 48]", "data.image_size", (32, 48)),
        ("data.source=C:\\photos=old", "data.source", "C:\\photos=old"),
        ("data.grey=true", "data.grey", True),
        ("net.attention=[false,true]", "net.attention", (False, True)),
        ("sample.guidance=-1", "sample.guidance", -1.0),
        ("sample.interval=[0.3, 5]", "sample.interval", (0.3, 5.0)),
        ("noise.schedule=flow", "noise.schedule", "flow"),
        ("about=one: two", "about", None),
        (" name = mine", "name", "mine"),
        ("name=1e3", "name", None),
        ("name='1e3'", "name", "1e3"),
    ],
)
def test_overrides_of_every_type(text: str, key: str, value: object) -> None:
    if value is None and key in ("about", "name"):  # YAML reads these as a mapping and as a number
        with pytest.raises(UserError, match=key):
            build({}, [text])
        return
    found: Any = build({}, [text])
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_the_last_override_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "train: {batch: 8, lr: 0.5}\nnet:\n")
    recipe = load(path, ["train.batch=16", "train.batch=32", "data={source: x}"])
    assert (recipe.train.batch, recipe.train.lr, recipe.data.source) == (32, 0.5, "x")
    assert load(path).train.batch == 8


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("train.bach=3", "^train.bach=3: unknown key; did you mean train.batch?"),
        ("batch=3", "^batch=3: unknown key; did you mean train.batch?"),
        ("net.batch=3", "^net.batch=3: unknown key; did you mean train.batch?"),
        ("qqqqqqq=3", "^qqqqqqq=3: unknown key; `sfumato recipe shapes` shows all keys"),
        ("train.batch.size=3", "train.batch"),
        ("train.batch", "an override is KEY=VALUE"),
        ("=3", "an override is KEY=VALUE"),
        ("  =3", "an override is KEY=VALUE"),
        ("data.labels=[cat", "not readable as YAML"),
        ("name.first=3", "name"),
        ("train.batch=many", "train.batch: .*integer.*'many'"),
        ("train.batch=0", "train.batch: .*greater than or equal to 1"),
        ("train.batch=1.5", "train.batch"),
        ("train.seed=-1", "train.seed"),
        ("train.seed=99999999999999999999", "train.seed"),
        ("train.lr=0", "train.lr: .*greater than 0"),
        ("train.lr=.nan", "train.lr"),
        ("train.lr=.inf", "train.lr: .*finite"),
        ("noise.mean=.nan", "noise.mean: .*finite"),
        ("sample.guidance=.inf", "sample.guidance: .*finite"),
        ("train.ema=[]", "train.ema"),
        ("train.ema=[0.1,0.1]", "train.ema: the widths must be different"),
        ("train.ema=[0.5]", "train.ema: the widths must"),
        ("data.image_size=7", "data.image_size: a side must be 8 to 1024"),
        ("data.image_size=[32,2000]", "a side must be 8 to 1024"),
        ("data.held_out=0.5", "data.held_out"),
        ("data.labels=cat", "data.labels: a list is needed"),
        ("net.preset=tinny", "net.preset: .*'tiny'"),
        ("net.stem=3", "net.stem"),
        ("sample.sampler=euler_a", "sample.sampler: no sampler named 'euler_a'; did you mean euler?"),
        ("noise.schedule=ed", "noise.schedule: no schedule named 'ed'; did you mean edm?"),
        ("net.kind=mlp", "net.kind: no network named 'mlp'; choose one of unet, plain, latent, or package.module:Name"),
        ("net.options=3", "net.options: .*dictionary"),
        ("net.options={a: {b: 1}}", "net.options.a"),
        ("task=paint", "task"),
        ("noise={schedule: scaled-linear-zero, prediction: epsilon}", "cannot start from pure noise"),
        ("noise={schedule: flow, prediction: epsilon}", "cannot start from pure noise"),
        ("noise={schedule: scaled-linear-zero, prediction: x0-unscaled}", "cannot start from pure noise"),
        ("noise={schedule: flow, prediction: x0-unscaled}", "cannot start from pure noise"),
        ("noise={schedule: edm, shift: 2}", "discrete schedules"),
        ("noise.sigma_min=90", "sigma_min must be below sigma_max"),
        ("sample.interval=[3, 1]", "sample.interval: .*the lower first"),
        ("train.accumulate=3", "batch=64 is not divisible by accumulate=3"),
    ],
)
def test_a_bad_override_is_one_line(override: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason.replace("?", r"\?")) as caught:
        build({"name": "mine"}, [override])
    words_of(caught)


def test_a_file_is_not_blamed_for_an_override(tmp_path: Path) -> None:
    file = write(tmp_path, "train: {images: 5}")
    with pytest.raises(UserError) as caught:
        load(file, ["train.imgaes=3", "train={lrr: 1}"])
    first, second = "train.imgaes=3: unknown key; did you mean train.images?", "train={lrr: 1}: unknown key train.lrr;"
    assert str(caught.value).startswith(f"{first}; {second}")
    with pytest.raises(UserError, match=r"mine\.yaml: unknown key train\.imgs"):
        load(write(tmp_path, "train: {imgs: 5}"), ["train.lr=1"])


@pytest.mark.parametrize("content", ["", "\n\n", "# a comment", "---\n", "{}", "[]", "null"])
def test_an_empty_file_is_all_defaults(tmp_path: Path, content: str) -> None:
    assert load(write(tmp_path, content)) == Recipe(name="mine")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("5", "a recipe is a mapping with sections"),
        ("- data\n- net", "a recipe is a mapping with sections"),
        ("just words", "a recipe is a mapping with sections"),
        ("data: 5", "data: .*dictionary"),
        ("data: [1, 2]", "data: .*dictionary"),
        ("1: 2", "1: .*string"),
        ("null: 2", "string"),
        ("? [1, 2]\n: 3", "mine.yaml"),
        ("data: {source: a\nnet", "not readable as YAML"),
        ("a: &a [*a]", "unknown key a"),
        ("data: {source: !!python/object/apply:os.getcwd []}", "not readable as YAML"),
        ("train: {images: 5}\ntrain: {imgs: 6}", "unknown key train.imgs; did you mean train.images"),
        (b"\xff\xfe\x00\x01", "not readable as YAML"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not readable as YAML"),
        (b"a: \x00", "not readable as YAML"),
        (b"about: caf\xe9", "not readable as YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_line(tmp_path: Path, content: str | bytes, reason: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError, match=reason) as caught:
        load(path)
    assert words_of(caught).startswith(str(path))


def test_names_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no recipe, file or folder named shape; did you mean shapes\?"):
        load("shape")
    with pytest.raises(UserError, match=f"shipped recipes: {re.escape(', '.join(shipped()))}"):
        load("zzzzzz")
    with pytest.raises(UserError, match="is a file but no recipe"):
        load(write(tmp_path, "{}", "recipe.txt"))
    for name in (tmp_path / "gone.yaml", tmp_path, ""):
        with pytest.raises(UserError, match="no recipe, file or folder named") as caught:
            load(name)
        words_of(caught)


def test_a_file_is_looked_for_before_a_shipped_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "about: mine", "shapes.yaml")
    assert load("shapes.yaml").about == "mine"
    assert load("shapes").about == recipes.load(shipped()["shapes"]).about


def test_overrides_are_split_at_the_first_sign() -> None:
    assert parse_override("a.b=c=d") == ("a.b", "c=d")
    assert parse_override("a=1_000") == ("a", 1000)
    assert parse_override("a=+2E-3") == ("a", 2e-3)
    assert parse_override("a=e5") == ("a", "e5")


def test_every_value_is_explained_or_obvious() -> None:
    """Names of sections and keys are the contract of files already written."""
    sections = ["data", "net", "noise", "text", "tune", "train", "sample", "judge"]
    assert list(Recipe.model_fields) == ["name", "task", "options", "about", *sections]
    keys = yaml12.read(Recipe().dump())
    assert {"source", "image_size", "labels", "condition"} <= set(keys["data"])
    assert {"images", "batch", "lr", "ema", "precision", "seed"} <= set(keys["train"])


def test_a_recipe_cannot_be_changed_in_place() -> None:
    recipe = load("mini")
    for section in (recipe, *(value for _, value in recipe if isinstance(value, Section))):
        for name, value in section:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(section, name, value)
            assert not isinstance(value, (list, dict, set)), name
    assert hash(recipe) == hash(load("mini"))


def test_with_gives_a_new_recipe() -> None:
    recipe = load("mini")
    data = recipe.data.model_copy(update={"source": "shapes", "count": None})
    new = recipe.with_({"train.lr": 1e-4, "data": data, "data.labels": ["cat"], "name": "mine"})
    assert (new.train.lr, new.data.source, new.data.labels, new.name) == (1e-4, "shapes", ("cat",), "mine")
    assert recipe == load("mini")
    assert new.with_({"train": recipe.train, "data": recipe.data, "name": "mini"}) == recipe
    given = {"source": "a"}
    assert recipe.with_({"data": given, "data.flip": False}).data == Data(source="a", flip=False)
    assert given == {"source": "a"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train.bach": 3}, r"recipe: unknown key train\.bach; did you mean train\.batch\?"),
        ({"train.batch": 0}, r"recipe: train\.batch: .*greater than or equal to 1 \(got 0\)"),
        ({"train": 3}, "train: "),
        ({"train.batch.size": 3}, r"train\.batch\.size=3: batch is not a section"),
        ({"train.batch": 10, "train.accumulate": 4}, "not divisible by accumulate=4"),
        ({"data.labels": "cat"}, r"data\.labels: a list is needed, as in \[a, b\] \(got 'cat'\)"),
        ({"train.lr": float("nan")}, r"train\.lr: .*finite"),
    ],
)
def test_a_bad_change_is_one_line(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        Recipe().with_(changes)
    words_of(caught)


def test_changes_are_checked_together() -> None:
    flow = {"noise.schedule": "flow", "noise.prediction": "flow", "train.batch": 6, "train.accumulate": 3}
    recipe = Recipe().with_(flow)
    assert (recipe.noise.schedule, recipe.train.accumulate) == ("flow", 3)
