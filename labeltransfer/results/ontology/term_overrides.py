"""Terms of labels that somebody set by hand: kept in the run's folder, one step after the other undone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from labeltransfer.errors import InputError, RunError
from labeltransfer.results.ontology.terms import is_term
from labeltransfer.storage import files

BY_HAND = "terms_by_hand.json"
"""Label to id of the Cell Ontology, empty where none fits, beside the run's other files."""

BEFORE = "terms_by_hand_before.json"
"""What stood there before each change, oldest first."""


def mended_terms(folder: Path) -> dict[str, str]:
    """Ids that were given to labels by hand.

    Raises
    ------
    RunError
        The file is damaged.
    """
    found = _read(folder / BY_HAND, {})
    if not isinstance(found, dict):
        raise _damaged(folder / BY_HAND)
    return {str(label): str(term) for label, term in found.items()}


def mend_terms(folder: Path, changes: Mapping[str, str]) -> None:
    """Give ids to some labels, keeping what was before.

    Raises
    ------
    InputError
        An id is none of the Cell Ontology; nothing is written then.
    RunError
        A file is damaged or cannot be written.
    """
    for label, term in changes.items():
        if term and not is_term(term):
            raise InputError(f"'{term}', given to label '{label}', is no term of the Cell Ontology: look it up again.")
    _change(folder, changes)


def undo_mending(folder: Path) -> None:
    """Take the last change back; what is not known from before becomes what was found.

    Raises
    ------
    RunError
        A file is damaged or cannot be written.
    """
    _change(folder, None)


def _change(folder: Path, changes: Mapping[str, str] | None) -> None:
    """Add changes, or with None take the last ones back; who changes at the same time waits."""
    try:
        with FileLock(folder / f"{BY_HAND}.lock"):
            now, before = mended_terms(folder), list(_read(folder / BEFORE, []))
            if changes is None:
                files.write_json(folder / BY_HAND, before.pop() if before else {})
                files.write_json(folder / BEFORE, before)
            else:
                files.write_json(folder / BEFORE, [*before, now])
                files.write_json(folder / BY_HAND, now | dict(changes))
    except OSError as error:
        raise RunError(
            f"The terms cannot be kept in {folder} ({error.strerror}): mend its rights or free some space."
        ) from error


def _read(path: Path, empty: Any) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return empty
    except ValueError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> RunError:
    return RunError(f"{path} is damaged: delete it to go back to the terms that were found.")
