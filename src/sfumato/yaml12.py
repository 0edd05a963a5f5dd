"""YAML with the plain values of version 1.2: `no` is a word, `1e6` a number. PyYAML alone reads 1.1."""

from __future__ import annotations

import re
from typing import Any

import yaml

BOOL, FLOAT, DATE, MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "timestamp", "merge"))
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
TRUTH = re.compile("true|True|TRUE|false|False|FALSE")


class _Reader(yaml.SafeLoader):
    pass


class _Writer(yaml.SafeDumper):
    pass


for _kind in (_Reader, _Writer):
    _kind.yaml_implicit_resolvers = {
        first: [(tag, known) for tag, known in pairs if tag not in (BOOL, FLOAT, DATE, MERGE)]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for _tag, _pattern, _first in ((BOOL, TRUTH, "tTfF"), (FLOAT, NUMBER, "-+.0123456789")):
        _kind.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern.pattern})$"), list(_first))


BREAKS = re.compile("[\n\x85\u2028\u2029]")  # line breaks to YAML 1.1, which double quotes keep, in one line


def _text(writer: _Writer, value: str) -> yaml.ScalarNode:
    style = '"' if BREAKS.search(value) else None
    return writer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Writer.add_representer(str, _text)


def read(text: str) -> Any:
    """A document as plain Python values. Raises yaml.YAMLError."""
    try:
        return yaml.load(text, _Reader)  # noqa: S506 (a SafeLoader)
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None
    except (ValueError, LookupError, AttributeError, TypeError) as error:  # !!int x, !!bool x, 5,000 digits
        raise yaml.YAMLError("a value does not fit its type") from error


def write(value: object) -> str:
    """Plain values as a document that `read` gives back."""
    return yaml.dump(value, Dumper=_Writer, sort_keys=False, allow_unicode=True)


def line(value: object) -> str:
    """A plain value on one line, as it stands after `key: `: lists in brackets, mappings in braces."""
    text: str = yaml.dump(
        value, Dumper=_Writer, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1 << 30
    )
    return text.removesuffix("\n").removesuffix("\n...")
