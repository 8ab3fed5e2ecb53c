"""Write a file so that it is whole at any instant, and read the app's own files."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from labeltransfer.errors import RunError

SAME_SETTINGS = "start a run with the same settings from Train"
"""The way out where an artefact is damaged."""


def move_into_place(part: Path, target: Path) -> None:
    """Give a complete file of the same folder or disk its name; after a crash its content is there, or the old one.

    Once this has returned, it is the new one, even where the machine loses its power in the next instant.
    """
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, target)
    sync_names(target.parent)


def sync_names(folder: Path) -> None:
    """Bring the names in a folder to the disk: a file that was renamed into it has its name after a crash."""
    with suppress(OSError):  # where a system cannot do so, such as Windows, it keeps names safe itself
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A path next to ``target`` to write to, which takes its name when the block ends well and is removed if not.

    A reader, at any instant and after any crash, finds the old or the new whole file.

    Raises
    ------
    OSError
        The disk does not take the file.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        yield temporary
        move_into_place(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file as :func:`atomic_path` describes; raises OSError where the disk does not take it."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


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
    """Report in a sentence that a file of a run is damaged, whichever library failed to read it.

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
    """That a file of a run is damaged, where it is, and the way out."""
    return (
        f"{path.name} of this run cannot be read from the disk ({why}): {SAME_SETTINGS}. It makes the damaged parts "
        f"again, keeps the rest, and repairs this run as well. The file is {path}."
    )
