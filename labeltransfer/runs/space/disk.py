"""How much disk runs take, in all and for each person.

A stage artefact is stored once however many runs use it. In all it counts once; of each person who has a run that uses
it, it counts in full, since it stays for as long as that run does. A finished artefact never changes, so it is measured
once in the life of a process.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from labeltransfer.errors import RunError
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.storage import uploads

FOLDERS = ("runs", "stages", "downloads", "uploads", "demo", "references", "removing")
"""What lies in the app's own folder and counts."""


def bytes_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder; 0 where there is none. Links are not followed.

    A file that has several names there, as an upload that was sent under each, counts once.
    """
    if path.is_file() and not path.is_symlink():
        with suppress(OSError):
            return path.stat().st_size
    total, waiting, seen = 0, [str(path)], set()
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:  # it may go at any moment
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        facts = entry.stat(follow_symlinks=False)
                        same = (facts.st_dev, facts.st_ino)
                        if facts.st_nlink == 1 or same not in seen:
                            total += facts.st_size
                            seen.add(same)
    return total


def artefact_bytes(folder: Path) -> int:
    """Bytes of a finished artefact, 0 where it is not there."""
    try:
        facts = folder.stat()
    except OSError:
        return 0
    return _artefact_bytes(str(folder), facts.st_ino, facts.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _artefact_bytes(folder: str, inode: int, mtime: int) -> int:
    return bytes_of(Path(folder))


def disk_use(root: Path) -> dict[str, int]:
    """Bytes below the app's own folder ``root``, by the name of the folder that they lie in."""
    use = {name: bytes_of(root / name) for name in FOLDERS if name != "stages"}
    with suppress(OSError), os.scandir(root / "stages") as entries:
        folders = [Path(entry.path) for entry in entries]
        whole = [folder for folder in folders if not folder.name.startswith(".")]
        half = [folder for folder in folders if folder.name.startswith(".")]
        use["stages"] = sum(map(artefact_bytes, whole)) + sum(map(bytes_of, half))
    return use


def person_bytes(store: Store, owner: str, *, without: Path | None = None) -> int:
    """Bytes that a person's runs and uploads take, each artefact of theirs counted once and in full.

    Files that arrive count as well, but for the one that is ``without``.
    """
    own = [run for run in store.runs() if run.owner == owner]
    total = sum(bytes_of(run.folder) for run in own)
    total += sum(artefact_bytes(store.stages / name) for name in artefact_names(own))
    sent = [folder for folder in uploads.kept_folders(store.root) if owner in uploads.owners(folder)]
    sent += [path for path in uploads.arriving(store.root, owner) if path != without]
    return total + sum(map(bytes_of, sent))


def artefact_names(runs: Iterable[Run]) -> set[str]:
    """Folder names of the artefacts that runs refer to; a run whose references are damaged counts as having none."""
    names: set[str] = set()
    for run in runs:
        with suppress(RunError):
            names |= run.artefact_names()
    return names


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where it cannot be read."""
    with suppress(OSError):
        return sorted(folder.iterdir())
    return []


def last_touched(path: Path) -> float:
    """When a file was last written or read, or when something directly in a folder was last written.

    Seconds since the epoch; now where that is unknown, so that nothing counts as old by mistake.
    """
    try:
        if path.is_dir():
            return max(
                entry.lstat().st_mtime for entry in (path, *path.iterdir())
            )  # of a link, not of what it leads to
        facts = path.stat()
        return max(facts.st_mtime, facts.st_atime)
    except OSError:
        return time.time()
