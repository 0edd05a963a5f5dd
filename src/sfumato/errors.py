"""The one error that a person can cause, and the one warning about what a person entered."""


class UserError(Exception):
    """An error that a person can correct. Its message is one line: what is wrong, where, and how to correct it.

    The command line prints the message and exits with status 2.
    """


class PromptWarning(UserWarning):
    """A part of what a person gave that the model cannot use: words of a prompt (`Model.warnings` returns the same
    lines as a list), an embedding in a LoRA's file.
    """


class Busy(UserError):  # noqa: N818 - read as a sentence: raise Busy
    """Another process uses the folder: try again later. The command line exits with status 75."""
