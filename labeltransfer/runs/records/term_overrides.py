"""Terms of labels that a person set by hand: kept in the run's folder, each change undone after the other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labeltransfer.errors import InputError
from labeltransfer.results.ontology.terms import is_term
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import require_changeable
from labeltransfer.storage.ledger import Ledger

BY_HAND = "terms_by_hand.json"
"""Label to id of the Cell Ontology, empty where none fits, next to the run's other files."""

BEFORE = "terms_by_hand_before.json"
"""What ``BY_HAND`` held before each change, oldest first."""


def term_overrides(folder: Path) -> dict[str, str]:
    """Ids that were given to labels by hand.

    Raises
    ------
    RunError
        The file is damaged.
    """
    return _terms(folder).read()


def override_terms(folder: Path, changes: Mapping[str, str]) -> None:
    """Give ids to some labels, keeping what was before.

    Raises
    ------
    InputError
        An id is none of the Cell Ontology; nothing is written then.
    RunError
        The run comes with the app, or a file is damaged or cannot be written.
    """
    require_changeable(Run(folder))
    for label, term in changes.items():
        if term and not is_term(term):
            raise InputError(f"'{term}', given to label '{label}', is no term of the Cell Ontology: look it up again.")
    terms, history = _terms(folder), _history(folder)
    with terms.changing() as now:
        history.write([*history.read(), now])
        terms.write(now | dict(changes))


def undo_override(folder: Path) -> None:
    """Take the last change back; before the first one, all labels have the terms that were found.

    Raises
    ------
    RunError
        The run comes with the app, or a file is damaged or cannot be written.
    """
    require_changeable(Run(folder))
    terms, history = _terms(folder), _history(folder)
    with terms.changing():
        before = history.read()
        terms.write(before[-1] if before else {})
        history.write(before[:-1])


def _terms(folder: Path) -> Ledger[dict[str, str]]:
    return Ledger(folder / BY_HAND, _as_terms, dict, {}, "go back to the terms that were found")


def _history(folder: Path) -> Ledger[list[dict[str, str]]]:
    """Changed under the lock of the terms alone."""
    return Ledger(folder / BEFORE, lambda found: [_as_terms(one) for one in found], list, [], "forget earlier changes")


def _as_terms(found: Any) -> dict[str, str]:
    if not isinstance(found, dict):
        raise TypeError("it holds no terms by label")
    return {str(label): str(term) for label, term in found.items()}
