"""Edits of labels by hand: named, in order, undoable. Predictions are not changed; edits are kept separately."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from labeltransfer.errors import SettingsError
from labeltransfer.params import Side

Action = Literal["accept", "relabel", "exclude"]

LONGEST = 120
"""Characters of a name or a label, at most."""


@dataclass(frozen=True)
class Edit:
    """A decision of a person about some cells.

    ``label`` is what they are called now (none where they are excluded); ``side``, ``observed`` and ``predicted`` say
    by which tile they were chosen, and ``rows`` which they were: rows of the run's table of cells. ``when`` is in
    seconds since the epoch, ``who`` an e-mail address, empty without sign-in.
    """

    id: str
    name: str
    action: Action
    label: str
    side: Side
    observed: str
    predicted: str
    rows: tuple[int, ...]
    who: str = ""
    when: float = 0.0

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise SettingsError(f"An edit cannot '{self.action}': it can accept, relabel or exclude.")
        if not self.name.strip() or len(self.name) > LONGEST:
            raise SettingsError(f"An edit needs a name of at most {LONGEST} characters, so that it can be found again.")
        if self.action != "exclude" and (not self.label.strip() or len(self.label) > LONGEST):
            raise SettingsError(f"The cells need a label of at most {LONGEST} characters: choose or write one.")
        if self.action == "exclude" and self.label:
            raise SettingsError("Excluded cells have no label: relabel them instead, or leave the label out.")
        if not self.rows:
            raise SettingsError(f"No cell belongs to the edit '{self.name}': choose a tile with cells.")

    def as_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {**vars(self), "rows": list(self.rows)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Edit":
        """From plain data; raises TypeError or KeyError where something is missing."""
        return cls(**{**stored, "rows": tuple(map(int, stored["rows"]))})


def deciding(edits: Sequence[Edit], n_cells: int) -> np.ndarray:
    """Place in ``edits`` of the one that decides about each cell, the last of several; -1 where none does.

    Array of shape (n_cells,).

    Raises
    ------
    SettingsError
        An edit names a row that the table does not have.
    """
    last = np.full(n_cells, -1, dtype=np.int32)
    for place, edit in enumerate(edits):
        rows = np.asarray(edit.rows)
        if rows.min() < 0 or rows.max() >= n_cells:
            raise SettingsError(
                f"The edit '{edit.name}' is about cell {rows.max():,}, but the run has {n_cells:,}: undo it on Compare."
            )
        last[rows] = place
    return last


def final_labels(predicted: pd.Series, edits: Sequence[Edit], decided: np.ndarray) -> pd.DataFrame:
    """The labels after all edits, and which edit decided.

    Parameters
    ----------
    predicted
        Labels of some cells, length n_chosen, where no edit decides.
    edits
        In the order in which they were made.
    decided
        Of these cells, array of shape (n_chosen,), as :func:`deciding` gives it.

    Returns
    -------
    With the index of ``predicted``, categories of text: ``final_label`` (missing where the cell is excluded), and the
    deciding edit's name (``edit``), ``edit_action`` and ``edited_by``, missing where none decides.
    """
    final = predicted.astype(object).to_numpy(copy=True)
    for place, edit in enumerate(edits):
        final[decided == place] = None if edit.action == "exclude" else edit.label
    columns: dict[str, Any] = {"final_label": pd.Categorical(final)}
    for column, own in (("edit", "name"), ("edit_action", "action"), ("edited_by", "who")):
        texts = np.array([*(getattr(edit, own) for edit in edits), None], dtype=object)  # -1, no edit, is the last
        columns[column] = pd.Categorical(texts[decided])
    return pd.DataFrame(columns, index=predicted.index)
