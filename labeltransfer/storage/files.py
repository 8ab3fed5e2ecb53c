"""Where the app keeps its things, and how a file gets there whole."""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labeltransfer.config import config
from labeltransfer.errors import RunError


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
            f"The app's folder {root} cannot be written to ({error.strerror}): mend its rights, free some space, "
            "or set LABELTRANSFER_HOME to another folder."
        ) from error
    return root


def data_dir() -> Path | None:
    """Folder on this server that holds h5ad files to choose from, ``$LABELTRANSFER_DATA_DIR``; None where unset."""
    folder = config().data_dir
    return folder.expanduser().resolve() if folder else None


def mirror() -> str:
    """Address of the lab's own copy of what the app downloads, ``$LABELTRANSFER_MIRROR``; empty where unset."""
    return config().mirror or ""


LEAST_ROOM = 50_000_000
"""Bytes that have to be free before a stage is begun: libraries that run into a full disk may end the process."""


def no_room(folder: Path) -> str:
    """That a folder's disk is as good as full, in words that lead out of it; empty where it is not."""
    free = shutil.disk_usage(folder).free
    if free >= LEAST_ROOM:
        return ""
    return f"The disk of {folder} is full, with {free / 1e6:.0f} MB left: free some space, then start the run again."


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, at any instant and after any crash, finds the old or the new whole content."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON, atomically."""
    write_atomic(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of the app's own.

    Raises
    ------
    RunError
        The file is not there or damaged.
    """
    with reading(path):
        return json.loads(path.read_text())


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say in a sentence that a file of a run is damaged, whatever library stumbled over it while reading it.

    Raises
    ------
    RunError
        The block could not read the file.
    """
    try:
        yield
    # Libraries share no error: pyarrow's are ValueErrors and OSErrors, h5py and anndata raise all of these.
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, EOFError) as error:
        raise RunError(damage_words(path, str(error))) from error


def damage_words(path: Path, why: str) -> str:
    """That a file of a run is damaged, where it lies, and the way out."""
    return (
        f"{path.name} of this run cannot be read from the disk ({why}): start a run with the same settings from Train. "
        f"It makes anew what is damaged, keeps the rest, and mends this run as well. The file is {path}."
    )
