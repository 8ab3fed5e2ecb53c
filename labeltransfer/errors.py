"""Errors for users, each in one sentence: what, where and the way out."""


class LabelTransferError(Exception):
    """A problem that the user can act on.

    The message is shown unchanged, on a page or on stderr, so it names what is wrong, where, and what to do.
    """


class InputError(LabelTransferError):
    """A file, or its content, cannot be used as it is."""


class SettingsError(LabelTransferError):
    """Settings that do not fit one another or the data."""


class DownloadError(LabelTransferError):
    """A file from the catalogue could not be fetched whole."""


class RunError(LabelTransferError):
    """A run cannot be found, kept, carried out or read."""


class RunCancelled(LabelTransferError):
    """The user asked for the run to stop; finished stages are kept."""
