"""Every name leads somewhere, a name that is wrong is told the nearest, and things get the arguments they take."""

from __future__ import annotations

import typing
from collections.abc import Callable

import pytest
import torch

from sfumato import Sampling, registry
from sfumato.errors import UserError
from sfumato.judging.features import open_features
from sfumato.judging.generate import judge_generated, metrics_of
from sfumato.models.named import net_of, schedule_of
from sfumato.pictures.lookup import open_source
from sfumato.pictures.store import Pictures
from sfumato.pictures.vocabulary import Vocabulary
from sfumato.recipe.explain import headings
from sfumato.recipe.recipe import build
from sfumato.recipe.sections import Data, Net, Noise

from .tiny import model_of, small_features

DOTS = torch.randint(0, 256, (8, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
DOTS_SEEN = Pictures(DOTS, torch.zeros(8, dtype=torch.long), ["dot"], None, [str(k) for k in range(8)])
NAMES = [(kind, name) for kind in typing.get_args(registry.Kind) for name in registry.names(kind)]


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_every_name_leads_somewhere(kind: registry.Kind, name: str) -> None:
    assert callable(registry.find(kind, name))


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("sampler", "sample.sampler"), ("schedule", "noise.schedule"), ("network", "net.kind"), ("task", "task"),
        ("features", "judge.features"), ("metric", "judge.metrics"),
    ],
)  # fmt: skip
def test_a_registered_thing_is_a_value_of_its_key(
    kind: registry.Kind, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._things, kind, dict(registry._things[kind]))
    value = "[newcomer]" if key == "judge.metrics" else "newcomer"
    with pytest.raises(UserError, match=f"no {kind} named 'newcomer'"):
        build({}, [f"{key}={value}"])
    registry.register(kind, "newcomer", lambda **_: None)
    assert "newcomer" in build({}, [f"{key}={value}"]).dump()
    assert any("newcomer" in each.values for heading in headings() for each in heading.entries if each.key == key)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("heunn", "did you mean heun?"),
        ("DDIM", "did you mean ddim?"),
        ("unipc", "choose one of ddpm, ddim"),
        ("", "choose one of"),
        ("a:b:c", "choose one of"),
        ("../x:y", "choose one of"),
        ("x" * 500, "choose one of"),
        ("\x1b[31m", r"'\\x1b\[31m'"),
    ],
)
def test_a_wrong_name_is_one_line(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint.replace("?", r"\?")) as caught:
        registry.find("sampler", name)
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


def test_arguments_are_those_that_a_thing_takes() -> None:
    def thing(a: int, b: int = 2, *, c: int = 3) -> tuple[int, int, int]:
        return a, b, c

    class Kept:
        def __init__(self, a: int) -> None:
            self.a = a

    given = {"a": 1, "c": 5, "d": 6}
    assert registry.arguments(thing, given, {}, "x") == {"a": 1, "c": 5}
    assert registry.arguments(thing, given, {"c": 7, "b": 0}, "x") == {"a": 1, "b": 0, "c": 7}
    assert registry.arguments(Kept, given, {}, "x") == {"a": 1}
    with pytest.raises(UserError, match=r"x\.options: thing: got an unexpected keyword argument 'e'; it takes a, b, c"):
        registry.arguments(thing, given, {"e": 1}, "x.options")


def test_what_is_trusted_is_a_module_and_what_is_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_trusted", set())
    monkeypatch.delenv(registry.PLUGINS, raising=False)
    for name in ("json:loads", "json.decoder:JSONDecoder", "jsonx:loads"):
        with pytest.raises(UserError, match="code of another package"):
            registry.find("features", name)
    registry.trust("json.decoder:JSONDecoder")
    registry.trust("no such form")
    registry.trust(3)
    assert callable(registry.find("features", "json.decoder:JSONDecoder"))
    with pytest.raises(UserError, match="code of another package"):
        registry.find("features", "json:loads")
    monkeypatch.setenv(registry.PLUGINS, "json")
    assert callable(registry.find("features", "json:loads"))
    with pytest.raises(UserError, match="code of another package"):
        registry.find("features", "jsonx:loads")


@pytest.mark.parametrize("name", ["", "a:b", "a b", "a\tb", "a\x00", 3, None])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="a name is a text without spaces and colons"):
        registry.register("sampler", name, len)
    assert name not in registry.names("sampler")


@pytest.mark.parametrize("thing", [3, None, "", "json", "json.loads"])
def test_what_is_no_thing(thing: str) -> None:
    with pytest.raises(ValueError, match=r"is neither a function, a class nor a text like package\.module:Name"):
        registry.register("sampler", "x", thing)


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Things that are not what their names promise: of other packages, and registered builtins."""
    monkeypatch.setattr(registry, "_trusted", {"json", "math", "random"})
    for kind in ("sampler", "features", "metric", "schedule", "network", "source"):
        monkeypatch.setitem(registry._things, kind, {**registry._things[kind], "bare": dict, "length": len})
    monkeypatch.setitem(registry._things, "sampler", {**registry._things["sampler"], "idle": lambda *_, **__: None})


@pytest.mark.usefixtures("strange")
@pytest.mark.parametrize("name", ["json:loads", "math:sqrt", "bare", "length", "idle", "random:random"])
def test_what_is_no_sampler_is_one_line(name: str) -> None:
    with pytest.raises(UserError) as caught:
        model_of().sample(1, sampling=Sampling(steps=1, sampler=name))
    assert {"bare": "dict"}.get(name, name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("strange")
@pytest.mark.parametrize("name", ["json:loads", "math:sqrt", "bare", "length"])
@pytest.mark.parametrize(
    "use",
    [
        lambda name: schedule_of(Noise(schedule=name)),
        lambda name: net_of(Net(kind=name), (3, 8, 8), Vocabulary("none", [], 0)),
        lambda name: open_source(name, Data(source=name)),
        open_features,
        lambda name: judge_generated(
            DOTS, DOTS_SEEN, DOTS_SEEN, open_features(small_features), metrics=metrics_of([name])
        ),
    ],
    ids=["schedule", "network", "source", "features", "metric"],
)
def test_what_is_not_what_it_should_be_is_one_line(use: Callable[[str], object], name: str) -> None:
    with pytest.raises(UserError) as caught:
        use(name)
    assert {"bare": "dict"}.get(name, name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("given", "what"), [(3, "features=3"), (len, "features len"), (lambda x: None, "<lambda>")])
def test_features_that_are_none(given: Callable[[torch.Tensor], torch.Tensor], what: str) -> None:
    with pytest.raises(UserError, match=what):
        open_features(given)


def test_mistakes_of_the_house_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="a bug"), registry.calling("sampler", "ddim"):
        raise ValueError("a bug")
