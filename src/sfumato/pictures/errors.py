"""Why a picture cannot be used."""


class PictureError(Exception):
    """A picture that cannot be used; the message is one line that says why."""


class TooLargeError(PictureError):
    """A picture refused by its header or file size, before anything was decoded."""


class ExtraError(PictureError):
    """A picture of a format whose reader is not installed."""
