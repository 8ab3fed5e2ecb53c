"""Remove a folder or file in one step: it is renamed out of everybody's sight first, and its content deleted after.

Renaming takes no time, so that a lock need not be held for as long as it takes to delete gigabytes. What a process that
was killed meanwhile has left is deleted by the next removal.
"""

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path


def folder(root: Path) -> Path:
    """Where things below the app's own folder ``root`` are until their content is deleted."""
    return root / "removing"


def set_aside(root: Path, path: Path) -> Path | None:
    """Take something out of its place; returns where it is from then on, or None where it could not be moved."""
    if path.parent == folder(root):
        return path
    target = folder(root) / f"{path.name}~{secrets.token_hex(4)}"
    with suppress(OSError):
        target.parent.mkdir(exist_ok=True)
        os.rename(path, target)
        return target
    # On another disk, or in another user's folder: file by file, the one first that makes a run.
    with suppress(OSError):
        (path / "params.json").unlink(missing_ok=True)
    _delete(path)
    return None if path.exists() else target


def sweep(root: Path) -> None:
    """Delete the content of everything that was set aside."""
    with suppress(OSError):
        for path in list(folder(root).iterdir()):
            _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
