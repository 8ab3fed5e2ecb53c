"""The app's own folder, the lab's data folder, and whether a disk has room."""

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from labeltransfer.config import config
from labeltransfer.errors import RunError, SettingsError

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
        if not root.exists():
            root.mkdir(parents=True, exist_ok=True)
            root.chmod(home_mode())
        else:
            _close(root)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise RunError(
            f"The app's folder {root} cannot be written to ({error.strerror}): correct its permissions, free some "
            "space, or set LABELTRANSFER_HOME to another folder."
        ) from error
    return root


def _close(root: Path) -> None:
    """Take a home from before it was kept private away from others; other folders are left as they are."""
    if os.name != "posix" or root in (Path("/"), Path.home()):
        return
    found = root.stat()
    others = found.st_mode & (0o007 if config().home_access == "group" else 0o077)
    own = found.st_uid == os.getuid() and not found.st_mode & stat.S_ISVTX
    if others and own and any((root / name).is_dir() for name in ("runs", "stages")):
        root.chmod(home_mode())
        logging.getLogger("labeltransfer").warning("%s was open to others of this machine: it is no more.", root)


def home_mode() -> int:
    """Permissions of the home: the user's alone, or with ``$LABELTRANSFER_HOME_ACCESS`` the group's too.

    A group's home hands its group on to what is written into it, no matter which of its members writes it.
    """
    return 0o2770 if config().home_access == "group" else 0o700


def keep_files_private() -> None:
    """Let all that this process and its children write be read by nobody else, or by the group alone.

    For processes of the app's own, such as the server and a worker: it holds for everything that they write. A setting
    that cannot be used closes: the files are the user's alone.
    """
    global _users_umask
    with suppress(SettingsError):
        if config().home_access == "group":
            _users_umask = os.umask(0o007)
            return
    _users_umask = os.umask(0o077)


@contextmanager
def users_umask() -> Iterator[None]:
    """Write as the user is used to, inside a process of the app's own: results that leave the home are theirs."""
    if _users_umask is None:
        yield
        return
    private = os.umask(_users_umask)
    try:
        yield
    finally:
        os.umask(private)


_users_umask: int | None = None


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
