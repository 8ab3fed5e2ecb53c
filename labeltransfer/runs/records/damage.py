"""Which files of a run are damaged, and why: such a run is listed by name, hurts no other one, and can be deleted."""

import os
from collections.abc import Callable
from pathlib import Path

from labeltransfer.errors import DamagedError
from labeltransfer.runs.records import edits, events, relabelling, term_overrides
from labeltransfer.runs.records.run import UNKNOWN_OWNER, Run, by_stamp
from labeltransfer.storage.records import is_there, read_content, read_json_content


def _require_owner(run: Run) -> None:
    if run.owner == UNKNOWN_OWNER:
        raise DamagedError(run.folder / "owner.txt", "it does not say whose run this is", "ask an admin")


READERS: dict[str, Callable[[Run], object]] = {
    "params.json": lambda run: run.params,
    "status.json": Run.read_status,
    "stages.json": Run.stage_keys,
    "owner.txt": _require_owner,
    "job.json": lambda run: read_json_content(run.folder / "job.json"),
    "events.jsonl": lambda run: read_content(run.folder / "events.jsonl", n_most=events.MOST_BYTES),
    edits.FILE: edits.read_edits,
    relabelling.FILE: lambda run: relabelling.layers(run.folder),
    term_overrides.BY_HAND: lambda run: term_overrides.term_overrides(run.folder),
}
"""What reads each file of a run that other code relies on."""


def damage(run: Run) -> dict[str, str]:
    """Why files of a run cannot be read, by their names; empty for a run that is as it should be."""
    found = {name: _damage_of(run.folder / name) for name in _names(run.folder)}
    return {name: why for name, why in found.items() if why}


def _names(folder: Path) -> list[str]:
    """Which files are there of those that are read, in one look; all of them where the folder cannot be seen."""
    try:
        return sorted(READERS.keys() & set(os.listdir(folder)), key=list(READERS).index)
    except OSError:
        return list(READERS)


@by_stamp
def _damage_of(path: Path) -> str:
    """Why a file of a run cannot be read; empty where it can, or is not there."""
    if is_there(path):
        try:
            READERS[path.name](Run(path.parent))
        except DamagedError as error:
            return error.why
    return ""
