"""The unfinished part of a download, and the note beside it that tells which version of the file it belongs to."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from labeltransfer.storage import files


@dataclass(frozen=True)
class Version:
    """Which version of which file a part belongs to; ``n_total`` is its length in bytes."""

    url: str
    validator: str
    n_total: int | None


def part_path(target: Path) -> Path:
    """Where the bytes of ``target`` gather until they are complete."""
    return target.with_name(target.name + ".part")


def part_size(target: Path) -> int:
    """Bytes of ``target`` that have arrived, 0 where none."""
    try:
        return part_path(target).stat().st_size
    except FileNotFoundError:
        return 0


def part_version(target: Path) -> Version | None:
    """What the part of ``target`` belongs to, None where that is not known."""
    try:
        return Version(**json.loads(_version_path(target).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_version(target: Path, version: Version) -> None:
    """Note what the part of ``target`` belongs to."""
    files.write_json(_version_path(target), asdict(version))


def forget_version(target: Path) -> None:
    """Remove the note, once the part has become the file."""
    _version_path(target).unlink(missing_ok=True)


def discard_part(target: Path) -> None:
    """Forget what has arrived of ``target``."""
    part_path(target).unlink(missing_ok=True)
    _version_path(target).unlink(missing_ok=True)


def lock_path(target: Path) -> Path:
    """The lock that the one process which fetches ``target`` holds."""
    return target.with_name(target.name + ".lock")


def format_bytes(n_bytes: int) -> str:
    """Bytes in words, such as ``2.20 GB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.2f} {unit}"
    return f"{n_bytes} bytes"


def _version_path(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")
