"""What each person may take of a shared server: runs at a time, and disk.

There is no limit unless its variable is set. With sign-in off everybody is the same person. How large one upload may be
is Streamlit's own setting, ``server.maxUploadSize``.
"""

from dataclasses import dataclass
from pathlib import Path

from labeltransfer.config import config, variable
from labeltransfer.errors import RunError
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.space import disk
from labeltransfer.units import size


@dataclass(frozen=True)
class Quotas:
    """The limits; None where there is none."""

    runs_per_person: int | None = None  # running and queued together
    disk_per_person: int | None = None  # bytes of a person's runs and uploads
    disk_in_all: int | None = None  # bytes of everything below LABELTRANSFER_HOME


def quotas() -> Quotas:
    """The limits of this server.

    Raises
    ------
    SettingsError
        A variable holds something else than a limit.
    """
    limits = config()
    return Quotas(limits.runs_per_person, limits.disk_per_person, limits.disk_in_all)


def check_disk(store: Store, owner: str, *, arrived: Path | None = None) -> None:
    """Check that a person has disk left, or room for the upload ``arrived`` that waits to be kept.

    Raises
    ------
    RunError
        There is none, for the person or for all.
    SettingsError
        See :func:`quotas`.
    """
    if reason := no_room(store, owner, arrived=arrived):
        raise RunError(reason)


def no_room(store: Store, owner: str, *, arrived: Path | None = None) -> str:
    """Why there is no disk left, see :func:`check_disk`, and the way out; empty where there is."""
    limits = quotas()
    spare, n_arrived = (1, 0) if arrived is None else (0, disk.bytes_of(arrived))
    if limits.disk_per_person is not None:
        used = disk.person_bytes(store, owner, without=arrived)
        if used + n_arrived + spare > limits.disk_per_person:
            more = f" and the upload {size(n_arrived)} more" if arrived else ""
            return (
                f"{'Your' if owner else 'The'} runs and uploads take {size(used)}{more}, and {who_may(owner)} take "
                f"{size(limits.disk_per_person)} ({variable('disk_per_person')}): delete or clean up runs on the "
                "Runs page."
            )
    if limits.disk_in_all is not None:
        used = sum(disk.disk_use(store.root).values())  # with what has arrived
        if used + spare > limits.disk_in_all:
            return (
                f"This server's runs and files take {size(used)}, of {size(limits.disk_in_all)} that they may take in "
                f"all ({variable('disk_in_all')}): delete or clean up runs on the Runs page, or ask its "
                "administrator to."
            )
    return ""


def room(store: Store, owner: str) -> int | None:
    """Bytes that a person may still take, at least 0; None where nothing limits them."""
    limits = quotas()
    left = []
    if limits.disk_per_person is not None:
        left.append(limits.disk_per_person - disk.person_bytes(store, owner))
    if limits.disk_in_all is not None:
        left.append(limits.disk_in_all - sum(disk.disk_use(store.root).values()))
    return max(0, min(left)) if left else None


def who_may(owner: str) -> str:
    """Who has the share that a limit gives, in words."""
    return "a person may" if owner else "all together may"
