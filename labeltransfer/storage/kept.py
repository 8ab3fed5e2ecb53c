"""Files that are made or fetched once and used from then on: believed only while they are what was kept.

A note next to such a file, ``.NAME.kept.json``, has its size, its time of change and the digest of its content. A file
is read whole when it is first believed in the life of a process, and again when anything about it has changed.
"""

from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter

from labeltransfer.errors import DamagedError
from labeltransfer.storage import files
from labeltransfer.storage.digests import file_digest
from labeltransfer.storage.records import is_there, read_record


@dataclass(frozen=True)
class Note:
    """What a file was when it was kept; ``changed`` is in nanoseconds since the epoch."""

    n_bytes: int
    changed: int
    digest: str


_NOTE = TypeAdapter(Note)


def note_path(path: Path) -> Path:
    """Where the note about a file is."""
    return path.with_name(f".{path.name}.kept.json")


def seal(path: Path) -> None:
    """Note what a file is, which is complete; raises OSError where the disk does not take the note."""
    facts = path.stat()
    files.write_json(note_path(path), asdict(Note(facts.st_size, facts.st_mtime_ns, file_digest(path))))


def is_sealed(path: Path) -> bool:
    """Whether there is a note about a file; one from before notes were kept, or put there by hand, has none."""
    return is_there(note_path(path))


def is_whole(path: Path, *, quick: bool = False) -> bool:
    """Whether a file is what its note says; False without a note that can be read.

    Parameters
    ----------
    path
        The file.
    quick
        Believe a file of the same size and time of change, without reading it.
    """
    with suppress(OSError, DamagedError):
        note, facts = read_record(note_path(path), _NOTE), path.stat()
        if note is None or facts.st_size != note.n_bytes:
            return False
        if quick and facts.st_mtime_ns == note.changed:
            return True
        return _digest(path, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size) == note.digest
    return False


def forget(path: Path) -> None:
    """Remove a file that is not believed, and its note."""
    path.unlink(missing_ok=True)
    note_path(path).unlink(missing_ok=True)


def belongs_to_a_file(path: Path) -> bool:
    """Whether this is the note about a file that is there."""
    name = path.name
    is_note = name.startswith(".") and name.endswith(".kept.json")
    return is_note and is_there(path.with_name(name.removeprefix(".").removesuffix(".kept.json")))


@lru_cache(maxsize=4096)
def _digest(path: Path, *stamp: int) -> str:
    return file_digest(path)
