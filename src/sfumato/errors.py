"""The one error that a person can cause, and the one warning about what a person entered."""


class UserError(Exception):
    """Something a person can mend. Its message is one line: what is wrong, where, and how to mend it.

    The command line prints it as it is and exits with status 2.
    """


class PromptWarning(UserWarning):
    """Something in a prompt that the model does not draw. `Model.warnings` gives the same lines as a list."""


class Busy(UserError):  # noqa: N818 - read as a sentence: raise Busy
    """Another process is at work there: the same again later may go. The command line exits with status 75."""
