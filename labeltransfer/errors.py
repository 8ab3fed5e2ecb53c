"""Errors for users, each in one sentence: what, where and the way out."""

from pathlib import Path


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


class DamagedError(RunError):
    """A file of the app's own, perhaps of another person, is there and does not say what it should.

    Parameters
    ----------
    path
        The file.
    why
        What is wrong with it, without a full stop.
    way_out
        What to do; ends the sentence.
    """

    def __init__(self, path: Path, why: str, way_out: str) -> None:
        super().__init__(f"{path} cannot be read ({why}): {way_out}.")
        self.path, self.why, self.way_out = path, why, way_out

    def __reduce__(self) -> tuple[type["DamagedError"], tuple[Path, str, str]]:
        """Pass it from process to process; the parts alone make it again."""
        return DamagedError, (self.path, self.why, self.way_out)


class RunCancelled(LabelTransferError):
    """The user asked for the run to stop; finished stages are kept."""


class Terminated(BaseException):
    """The system, a scheduler or a person asked this process to end, by SIGTERM."""
