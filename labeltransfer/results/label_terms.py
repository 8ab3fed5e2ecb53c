"""Labels to terms of the Cell Ontology: by id, by name, by exact synonym, or by hand."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from filelock import FileLock

from labeltransfer import home
from labeltransfer.errors import InputError, RunError
from labeltransfer.results.evaluate import OBS_PREFIX
from labeltransfer.results.ontology import cell_ontology

How = Literal["id", "name", "synonym", "by hand", "none"]

ID_COLUMNS = ("cell_ontology_id", "cell_type_ontology_term_id", "cell_ontology_term_id")
"""Columns of input files that hold an id of the Cell Ontology for each cell: Tabula Muris' and CELLxGENE's names."""

BY_HAND = "label_terms.json"
"""File in a run's folder with what was set by hand."""

_GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon"}
_NOT_OF_A_NAME = re.compile(r"[\s,_/\-‐-―]+")


@dataclass(frozen=True)
class LabelTerm:
    """A label, the term that it means (``id`` and ``name``; None without one) and how that was found."""

    label: str
    id: str | None = None
    name: str | None = None
    how: How = "none"


def plain_name(text: str) -> str:
    """A name without what writers differ in: case, plural, ``+`` for positive, hyphens, commas, Greek letters."""
    lowered = "".join(f" {_GREEK[c]} " if c in _GREEK else c for c in text.lower()).replace("+", " positive ")
    words = _NOT_OF_A_NAME.sub(" ", lowered).split()
    return " ".join(w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith(("ss", "us")) else w for w in words)


def map_labels(
    labels: Iterable[str], *, ids: Mapping[str, str] | None = None, by_hand: Mapping[str, str | None] | None = None
) -> dict[str, LabelTerm]:
    """Find the term of each label.

    What is set by hand comes first, then the id that the file gives, then the name, then an exact synonym; both are
    compared by :func:`plain_name`. Last a name is tried with the word "cell" behind: "endothelial" is found so. Not so
    a synonym: "alpha", of the pancreas, would become a ganglion cell of the retina. A name that several terms share
    finds none.

    Parameters
    ----------
    labels
        Labels as they stand in the table of cells.
    ids
        Id by label, see :func:`label_ids`. An id that the ontology does not have is passed over.
    by_hand
        Id by label; None says that a label has no term.

    Returns
    -------
    Term by label, in alphabetical order, labels without one included.

    Raises
    ------
    InputError
        An id that was set by hand is none of the Cell Ontology, or the ontology cannot be read.
    """
    ids, by_hand = ids or {}, by_hand or {}
    return {label: _term_of(label, ids.get(label), by_hand) for label in sorted(set(map(str, labels)))}


def _term_of(label: str, file_id: str | None, by_hand: Mapping[str, str | None]) -> LabelTerm:
    ontology = cell_ontology()
    if label in by_hand:
        chosen = by_hand[label]
        term = ontology.find(chosen) if chosen else None
        if chosen and term is None:
            raise InputError(
                f"'{chosen}', set by hand for label '{label}', is no term of the Cell Ontology: look it up."
            )
        return LabelTerm(label, term, ontology.names[term] if term else None, "by hand")
    names, synonyms = _index()
    plain = plain_name(label)
    tried: list[tuple[How, str | None]] = [
        ("id", ontology.find(file_id) if file_id else None),
        ("name", names.get(plain)),
        ("synonym", synonyms.get(plain)),
        ("name", names.get(f"{plain} cell")),
    ]
    return next((LabelTerm(label, term, ontology.names[term], how) for how, term in tried if term), LabelTerm(label))


@cache
def _index() -> tuple[dict[str, str], dict[str, str]]:
    """Term by plain name, and by plain exact synonym; what several terms share is left out."""
    ontology = cell_ontology()
    names = ((plain_name(name), term) for term, name in ontology.names.items())
    synonyms = ((plain_name(name), term) for term, others in ontology.synonyms.items() for name in others)
    return _unambiguous(names), _unambiguous(synonyms)


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for text, term in pairs:
        found.setdefault(text, set()).add(term)
    return {text: min(terms) for text, terms in found.items() if len(terms) == 1}


def label_ids(cells: pd.DataFrame) -> dict[str, str]:
    """Ids of the Cell Ontology that the input files give, by observed label.

    Read from the columns ``obs.NAME`` of the table of cells, NAME one of ``ID_COLUMNS``; a label whose cells have
    several ids is left out, for none of them is the label's. Cells without an id do not count.
    """
    found: dict[str, set[str]] = {}
    for column in (f"{OBS_PREFIX}{name}" for name in ID_COLUMNS):
        if column in cells:
            pairs = pd.DataFrame({"label": cells["observed_label"].array, "id": cells[column].array})
            for label, term in pairs.astype("category").dropna().drop_duplicates().astype(str).itertuples(index=False):
                found.setdefault(label, set()).add(term)
    return {label: min(ids) for label, ids in found.items() if len(ids) == 1}


def terms_of(cells: pd.DataFrame, *, by_hand: Mapping[str, str | None] | None = None) -> dict[str, LabelTerm]:
    """Terms of all labels of a table of cells, observed and predicted; see :func:`map_labels`."""
    labels = {str(label) for name in ("observed_label", "predicted_label") for label in cells[name].dropna().unique()}
    return map_labels(labels, ids=label_ids(cells), by_hand=by_hand)


def read_by_hand(folder: Path) -> tuple[dict[str, str | None], int]:
    """What was set by hand in a run's folder, and how many steps can be undone.

    Raises
    ------
    RunError
        The file is damaged.
    """
    held = _read(folder)
    return held["by_hand"], len(held["before"])


def set_by_hand(folder: Path, changes: Mapping[str, str | None]) -> None:
    """Set the terms of some labels in a run's folder, keeping what was before.

    Raises
    ------
    InputError
        An id is none of the Cell Ontology; nothing is written then.
    RunError
        The file cannot be read or written.
    """
    map_labels(changes, by_hand=changes)
    _change(
        folder, lambda held: {"by_hand": held["by_hand"] | dict(changes), "before": [*held["before"], held["by_hand"]]}
    )


def undo_by_hand(folder: Path) -> None:
    """Take the last :func:`set_by_hand` back; nothing where there is none.

    Raises
    ------
    RunError
        The file cannot be read or written.
    """
    _change(
        folder, lambda held: {"by_hand": held["before"][-1], "before": held["before"][:-1]} if held["before"] else held
    )


def _read(folder: Path) -> dict[str, Any]:
    path = folder / BY_HAND
    return home.read_json(path) if path.exists() else {"by_hand": {}, "before": []}


def _change(folder: Path, change: Any) -> None:
    """Replace the file by what becomes of it; who else changes it at the same time waits."""
    try:
        with FileLock(folder / f"{BY_HAND}.lock"):
            home.write_json(folder / BY_HAND, change(_read(folder)))
    except OSError as error:
        raise RunError(
            f"What you set cannot be kept in {folder} ({error.strerror}): mend the folder's rights or free some space."
        ) from error
