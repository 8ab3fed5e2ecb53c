"""Edits of a run's labels on disk: ``edits.json`` in the run's folder, in the order in which they were made."""

import secrets
import time
from dataclasses import replace
from pathlib import Path

from labeltransfer.errors import RunError
from labeltransfer.results.scores.final_labels import Edit
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import require_changeable
from labeltransfer.storage.ledger import Ledger

FILE = "edits.json"


def edits_file(run: Run) -> Path:
    """Where a run's edits are kept; the file is not there before the first one."""
    return run.folder / FILE


def read_edits(run: Run) -> list[Edit]:
    """Edits of a run, the oldest first.

    Raises
    ------
    RunError
        The file is damaged.
    """
    return _ledger(run).read()


def add_edit(run: Run, edit: Edit) -> Edit:
    """Keep an edit as the last one; returns it with its id and time.

    Raises
    ------
    RunError
        The run comes with the app, or the file cannot be written.
    """
    kept = replace(edit, id=secrets.token_hex(6), when=time.time())
    require_changeable(run)
    ledger = _ledger(run)
    with ledger.changing() as edits:
        ledger.write([*edits, kept])
    run.note("relabelled", kept.who)
    return kept


def undo_edit(run: Run, edit_id: str, *, by: str = "") -> None:
    """Take an edit back, whichever it is; the others count as if it had never been made.

    Raises
    ------
    RunError
        There is no such edit (any more), the run comes with the app, or the file cannot be written.
    """
    require_changeable(run)
    ledger = _ledger(run)
    with ledger.changing() as edits:
        left = [edit for edit in edits if edit.id != edit_id]
        if len(left) == len(edits):
            raise RunError("This edit was undone before, perhaps by another person: reload the page.")
        ledger.write(left)
    run.note("relabelled", by)


def _ledger(run: Run) -> Ledger[list[Edit]]:
    return Ledger(
        edits_file(run),
        lambda found: [Edit.from_dict(stored) for stored in found],
        lambda edits: [edit.as_dict() for edit in edits],
        [],
        "go on without edits",
    )
