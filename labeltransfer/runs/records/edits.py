"""Edits of a run's labels on disk: ``edits.json`` in the run's folder, in the order in which they were made.

Several people may look at one run: who adds or undoes reads the file again under a lock, and replaces it atomically.
"""

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from labeltransfer.errors import LabelTransferError, RunError
from labeltransfer.results.scores.final_labels import Edit
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import SHIPPED
from labeltransfer.storage import files

FILE = "edits.json"


def edits_file(run: Run) -> Path:
    """Where a run's edits are kept; the file is not there before the first one."""
    return run.folder / FILE


def can_edit(run: Run) -> bool:
    """Whether edits can be kept: the run that comes with the app belongs to the app, and stays as it is."""
    return run.root != SHIPPED


def read_edits(run: Run) -> list[Edit]:
    """Edits of a run, the oldest first.

    Raises
    ------
    RunError
        The file is damaged.
    """
    try:
        return [Edit.from_dict(stored) for stored in json.loads(edits_file(run).read_text())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, LabelTransferError) as error:
        raise RunError(
            f"{edits_file(run)} cannot be read ({error}): put a copy of it back, or delete it to go on without edits."
        ) from error


def add_edit(run: Run, edit: Edit) -> Edit:
    """Keep an edit as the last one; returns it with its id and time.

    Raises
    ------
    RunError
        The run comes with the app, or the file cannot be written.
    """
    kept = replace(edit, id=secrets.token_hex(6), when=time.time())
    with _changing(run):
        _write(run, [*read_edits(run), kept])
    return kept


def undo_edit(run: Run, edit_id: str) -> None:
    """Take an edit back, whichever it is; the others stand as if it had never been made.

    Raises
    ------
    RunError
        There is no such edit (any more), the run comes with the app, or the file cannot be written.
    """
    with _changing(run):
        edits = read_edits(run)
        left = [edit for edit in edits if edit.id != edit_id]
        if len(left) == len(edits):
            raise RunError("This edit was undone before, perhaps by somebody else: reload the page.")
        _write(run, left)


@contextmanager
def _changing(run: Run) -> Iterator[None]:
    """Hold the run's edits alone, and say in a sentence where they cannot be written."""
    if not can_edit(run):
        raise RunError(
            "The demo run comes with the app and stays as it is: train the demo data yourself to edit its labels."
        )
    try:
        with FileLock(run.folder / f".{FILE}.lock", timeout=10):
            yield
    except OSError as error:  # also where the lock was not to be had in time
        raise RunError(f"{edits_file(run)} cannot be written ({error}): free some space and try again.") from error


def _write(run: Run, edits: Sequence[Edit]) -> None:
    files.write_atomic(edits_file(run), json.dumps([edit.as_dict() for edit in edits], ensure_ascii=False) + "\n")
