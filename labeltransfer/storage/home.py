"""The app's own folder, the lab's data folder, and whether a disk has room."""

import shutil
import tempfile
from pathlib import Path

from labeltransfer.config import config
from labeltransfer.errors import RunError

LEAST_ROOM = 50_000_000
"""Bytes that have to be free before a stage is begun: libraries that run into a full disk may end the process."""


def home() -> Path:
    """Folder of everything that the app writes: ``$LABELTRANSFER_HOME``, else ``~/.labeltransfer``.

    Raises
    ------
    RunError
        The folder cannot be made or written to.
    """
    root = config().home.expanduser().resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise RunError(
            f"The app's folder {root} cannot be written to ({error.strerror}): correct its permissions, free some "
            "space, or set LABELTRANSFER_HOME to another folder."
        ) from error
    return root


def data_dir() -> Path | None:
    """Folder on this server that holds h5ad files to choose from, ``$LABELTRANSFER_DATA_DIR``; None where unset."""
    folder = config().data_dir
    return folder.expanduser().resolve() if folder else None


def no_room(folder: Path) -> str:
    """That a folder's disk is as good as full, and the way out; empty where it is not."""
    free = shutil.disk_usage(folder).free
    if free >= LEAST_ROOM:
        return ""
    return f"The disk of {folder} is full, with {free / 1e6:.0f} MB left: free some space, then start the run again."
