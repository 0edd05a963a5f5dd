"""The one error that a person can cause, and the one warning about what a person entered."""


class UserError(Exception):
    """An error that a person can correct. Its message is one line: what is wrong, where, and how to correct it.

    The command line prints the message and exits with status 2.
    """


class PromptWarning(UserWarning):
    """Warns of a part of a prompt that the model does not know or omits. `Model.warnings` returns the same lines."""


class Busy(UserError):  # noqa: N818 - read as a sentence: raise Busy
    """Another process uses the run folder: try again later. The command line exits with status 75."""
