"""Checksums of a stage artefact, kept next to its files: what shows which are damaged.

``checksums.json`` is written when an artefact is complete. Sizes alone are compared first, for a cut file is the most
frequent damage and costs nothing to find; a file of the right size is read whole. Times of change are not asked:
a home that was copied to another disk has new ones, and is not damaged. An artefact without the file, from before it
was kept, counts as whole.
"""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, TypeAdapter

from labeltransfer.errors import DamagedError, RunError
from labeltransfer.storage import files
from labeltransfer.storage.digests import ALGORITHM, file_digest
from labeltransfer.storage.records import is_there, read_record

FILE = "checksums.json"


class _Checksums(BaseModel):
    files: dict[str, tuple[int, str]]


_CHECKSUMS = TypeAdapter(_Checksums)


def seal(folder: Path) -> None:
    """Write the checksums of every file below a folder, in place of those that are there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / FILE)
    found = {path.relative_to(folder).as_posix(): _facts(path) for path in paths}
    files.write_json(folder / FILE, {"algorithm": ALGORITHM, "files": found})


def sealed(folder: Path) -> dict[str, tuple[int, str]] | None:
    """Size and digest of each file of an artefact when it was completed; None where none were kept.

    Raises
    ------
    DamagedError
        They cannot be read.
    """
    found = read_record(folder / FILE, _CHECKSUMS, way_out=files.SAME_SETTINGS)
    return None if found is None else found.files


def damaged_files(folder: Path, *, only: Collection[str] | None = None, quick: bool = False) -> list[str]:
    """Names of files of an artefact that are not as they were when it was completed.

    Parameters
    ----------
    folder
        A finished artefact, or where one was.
    only
        Look at these files alone, and at those below these folders.
    quick
        Compare sizes alone, which finds cut and missing files and reads nothing.

    Raises
    ------
    RunError
        Another user of this server made it, and this one may not look.
    """
    try:
        facts = sealed(folder)
    except DamagedError as error:
        if isinstance(error.__cause__, PermissionError):
            raise RunError(
                f"{folder} belongs to another user of this server, and may not be read: ask its administrator to open "
                "the app's folder to its group."
            ) from error
        return [FILE]
    if facts is None:
        return []
    looked_at = facts if only is None else [name for name in facts if set(only) & {name, *_folders_of(name)}]
    return sorted(name for name in looked_at if not _is_whole(folder / name, *facts[name], quick=quick))


def require_whole(path: Path) -> Path:
    """The path of an artefact's file or folder, once its checksums were compared.

    Raises
    ------
    RunError
        A file is damaged or gone.
    """
    folder = next((parent for parent in (path, *path.parents) if is_there(parent / FILE)), None)
    if folder is not None:
        damaged = damaged_files(folder, only=[path.relative_to(folder).as_posix()])
        if damaged:
            raise RunError(files.damage_words(folder / damaged[0], "its checksum is not the one that was kept"))
    return path


def _folders_of(name: str) -> list[str]:
    return [str(folder) for folder in PurePosixPath(name).parents]


def _facts(path: Path) -> list[Any]:
    return [path.stat().st_size, file_digest(path)]


def _is_whole(path: Path, size: int, digest: str, *, quick: bool) -> bool:
    with suppress(OSError):  # gone, or not to be read: that is what a failing disk says
        return path.stat().st_size == size and (quick or _facts(path)[1] == digest)
    return False
