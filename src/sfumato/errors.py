"""The one error that a person can cause, and the one warning about what a person entered."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """An error that a person can correct. Its message is one line: what is wrong, where, and how to correct it.

    The command line prints the message and exits with status 2.
    """


class PromptWarning(UserWarning):
    """Warns of a part of a prompt that the model does not know or omits. `Model.warnings` returns the same lines."""


class Busy(UserError):  # noqa: N818 - read as a sentence: raise Busy
    """Another process uses the run folder: try again later. The command line exits with status 75."""


def listed(name: str, given: object) -> list[str]:
    """Several texts as a list. Raises UserError for one text, whose letters they would be, and for what is no text.

    name: of the argument, for the error.
    """
    if isinstance(given, str):
        raise UserError(f"{name} {given!r:.200}: give a list, as [{given!r:.200}]")
    if not isinstance(given, Iterable):
        raise UserError(f"{name} {given!r:.60}: give a list of texts")
    texts = []
    for each in given:
        if not isinstance(each, str):
            raise UserError(f"{name}: {each!r:.60} is no text")
        texts.append(each)
    return texts


def one_or_more(name: str, given: object) -> list[str]:
    """One text or several as a list. Raises UserError, as `listed`."""
    return [given] if isinstance(given, str) else listed(name, given)
