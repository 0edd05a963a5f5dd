"""The one error a person can cause."""


class UserError(Exception):
    """Something a person can mend. Its message is one line: what is wrong, where, and how to mend it.

    The command line prints it as it is and exits with status 2.
    """
