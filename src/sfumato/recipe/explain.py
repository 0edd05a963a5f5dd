"""Explains a recipe: every value with its meaning, its permitted values and its default."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sfumato import registry, yaml12
from sfumato.recipe.recipe import Recipe
from sfumato.recipe.sections import Named, Options

KINDS = {int: "whole number", float: "number", str: "text", bool: "true or false", Options: "mapping"}


@dataclass(frozen=True)
class Entry:
    """A key of a recipe.

    key: dotted; values: the permitted values, as a text; default: as YAML, "left out" for null, "empty" for no text.
    """

    key: str
    meaning: str
    values: str
    default: str

    @property
    def comment(self) -> str:
        return f"{self.meaning} [{self.values}; default {self.default}]"


@dataclass(frozen=True)
class Heading:
    """A section of a recipe."""

    name: str
    meaning: str
    entries: tuple[Entry, ...]


def headings() -> tuple[Heading, ...]:
    """The sections in their order; the first, named "", holds the keys outside all sections."""
    inner = [(name, _section(field)) for name, field in Recipe.model_fields.items()]
    return (
        Heading("", "The run as a whole.", tuple(_entries(Recipe))),
        *(Heading(name, _first(kind), tuple(_entries(kind, f"{name}."))) for name, kind in inner if kind),
    )


def explain(recipe: Recipe) -> str:
    """The recipe as YAML with a comment on every line; `recipe.load` of it gives an equal recipe."""
    values = recipe.model_dump(mode="json")
    lines = []
    for heading in headings():
        section, inner = (getattr(recipe, heading.name), values[heading.name]) if heading.name else (recipe, values)
        indent = "  " if heading.name else ""
        if heading.name:
            lines += ["", f"{heading.name}:  # {heading.meaning}"]
        for entry in heading.entries:
            name = entry.key.rsplit(".", 1)[-1]
            value = getattr(section, name)
            if name in inner or value in (None, Options()):  # of two lengths only one is set
                written = inner.get(name, None if value is None else {})
                lines.append(f"{indent}{name}: {yaml12.line(written)}  # {entry.comment}")
    return "\n".join(lines) + "\n"


def _entries(kind: type[BaseModel], prefix: str = "") -> Iterator[Entry]:
    for name, field in kind.model_fields.items():
        if not _section(field):
            yield Entry(prefix + name, field.description or "", _values(field), _default(field))


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _first(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or "").split("\n")[0].strip()


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == "":
        return "left out" if value is None else "empty"
    return yaml12.line({**value} if isinstance(value, Options) else list(value) if isinstance(value, tuple) else value)


def _values(field: FieldInfo) -> str:
    """The permitted values of a field, as a text: "whole number, 1 or more"; "small, medium or large"."""
    if named := _named(field.metadata):
        return named
    limits = [words for limit in field.metadata if (words := _limit(limit))]
    both = {type(limit): limit for limit in field.metadata}
    if {annotated_types.Ge, annotated_types.Le} <= both.keys():  # a closed range is easier to read as one limit
        low, high = both[annotated_types.Ge].ge, both[annotated_types.Le].le
        rest = [_limit(v) for k, v in both.items() if k not in (annotated_types.Ge, annotated_types.Le)]
        limits = [f"{low} to {high}", *filter(None, rest)]
    return ", ".join([_kind(field.annotation), *limits])


def _named(metadata: Sequence[object]) -> str:
    """The registered names that a field may have; "" if it is not such a field."""
    for named in (each for each in metadata if isinstance(each, Named)):
        return _either([*map(yaml12.line, registry.names(named.kind)), "package.module:Name"])
    return ""


def _kind(kind: Any) -> str:
    """A type as a text."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _named(inner[1:]) or _kind(inner[0])
    if origin is Literal:
        return _either([yaml12.line(value) for value in inner])
    if origin in (Union, types.UnionType):
        return _either([_kind(each) for each in inner if each is not type(None)])
    if origin is tuple:
        if get_origin(inner[0]) is Annotated:
            return f"list of {_kind(inner[0])}"
        many = "" if Ellipsis in inner else f"{len(inner)} "
        return f"list of {many}{_plural(_kind(inner[0]))}"
    return KINDS.get(kind, "value")


def _plural(words: str) -> str:
    return {"text": "texts", "true or false": "true or false"}.get(words, f"{words}s")


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _limit(limit: object) -> str:
    match limit:
        case annotated_types.Ge():
            return f"{limit.ge} or more"
        case annotated_types.Gt():
            return f"above {limit.gt}"
        case annotated_types.Le():
            return f"at most {limit.le}"
        case annotated_types.Lt():
            return f"below {limit.lt}" if limit.lt != 2**63 else "below 2^63"
        case annotated_types.MultipleOf():
            return f"a multiple of {limit.multiple_of}"
        case annotated_types.MinLen():
            return f"at least {limit.min_length}"
    return ""
