"""Every name leads somewhere, a name that is wrong is told the nearest, and things get the arguments they take."""

from __future__ import annotations

import typing

import pytest

from sfumato import registry
from sfumato.errors import UserError
from sfumato.recipe.explain import headings
from sfumato.recipe.recipe import build

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
