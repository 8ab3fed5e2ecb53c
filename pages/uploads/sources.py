"""Where an input file can come from, and how its path is kept inside the folders that the app may read."""

import os
from collections.abc import Iterable
from pathlib import Path

from labeltransfer.errors import InputError
from labeltransfer.formats import SUFFIXES
from labeltransfer.storage.home import data_dir, home
from labeltransfer.storage.records import printable

LISTED_FILES = 2000


def folder_files(suffixes: Iterable[str] = SUFFIXES) -> tuple[list[str], list[str]]:
    """Files of the data folder and its subfolders, as names relative to it, and those that no run can name.

    At most ``LISTED_FILES``. Hidden ones are left out, and so is what a link leads to outside the folder, or may not be
    looked at. No run can name a file whose name is no UTF-8, or holds control characters: it is given as it can be
    shown.
    """
    root = data_dir()
    if root is None or not root.is_dir():
        return [], []
    found: list[str] = []
    unusable: list[str] = []
    endings = tuple(suffixes)
    for folder, folders, files in os.walk(root):  # does not follow links to folders
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(files):
            path = Path(folder) / name
            listed = name.endswith(endings) and not name.startswith(".")
            if listed and os.path.isfile(path) and Path(os.path.realpath(path)).is_relative_to(root):
                relative = path.relative_to(root).as_posix()
                shown = printable(relative)
                (found if shown == relative else unusable).append(shown)
                if len(found) == LISTED_FILES:
                    return found, unusable
    return found, unusable


def folder_file(name: str) -> Path:
    """Path of a file of the data folder.

    Raises
    ------
    InputError
        There is no data folder, the file is not in it, or the name leads out of it.
    """
    root = data_dir()
    if root is None:
        raise InputError("This server has no data folder: set LABELTRANSFER_DATA_DIR and start the app again.")
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(root):
        raise InputError(f"'{name}' lies outside the data folder: choose a file of the list.")
    if not os.path.isfile(path):
        raise InputError(f"'{name}' is not in the data folder (any more): choose another file.")
    return path


def describe_path(path: str) -> str:
    """A path as a person should see it: relative to the folder that it was chosen from."""
    resolved = Path(path)
    for root in (data_dir(), home() / "uploads", home()):
        if root is not None and resolved.is_relative_to(root):
            return resolved.name if root.name == "uploads" else resolved.relative_to(root).as_posix()
    return str(resolved)
