"""Corrections of observed labels, named and removable layers that never overwrite the original; what each changes.

Light enough for the pages: nothing here trains, searches or opens a model. Layers are kept by ``runs.records``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labeltransfer.errors import RunError
from labeltransfer.results.scores import evaluate
from labeltransfer.results.scores.cells import as_categorical

OLD_TABLE = "This run is older than the label audit: start it again from Train, and it is made from its models."


@dataclass(frozen=True)
class Correction:
    """One suspicion that is applied, as in ``audit.csv``."""

    observed_label: str
    kind: str
    partner_label: str


@dataclass(frozen=True)
class Layer:
    """A named set of corrections."""

    name: str
    corrections: tuple[Correction, ...]


def cells_of(cells: pd.DataFrame, table: pd.DataFrame, row: int) -> np.ndarray:
    """Query cells that a row of the audit is about, bool array of shape (n_cells,).

    Parameters
    ----------
    cells
        The table of cells with ``audited_label``.
    table
        The audit.
    row
        Place in it.

    Raises
    ------
    RunError
        The table of cells is older than the audit.
    """
    if "audited_label" not in cells:
        raise RunError(OLD_TABLE)
    found = table.iloc[row]
    observed, audited = (cells[name].astype(object) for name in ("observed_label", "audited_label"))
    own = (cells["side"] == "query") & (observed == found["observed_label"]) & (audited != observed)
    if found["kind"] != "cells":
        return (own & (audited == found["partner_label"])).to_numpy(bool)
    # Single cells are those of the class that no row about more of it takes.
    wider = table[(table["observed_label"] == found["observed_label"]) & (table["kind"] != "cells")]
    return (own & ~audited.isin(wider["partner_label"])).to_numpy(bool)


def relabelled(cells: pd.DataFrame, table: pd.DataFrame, rows: Sequence[int]) -> pd.Series:
    """Observed labels with some rows of the audit applied, a new series named ``audited_label``, one value a cell.

    ``cells`` and its observed labels stay as they are.
    """
    labels = cells["observed_label"].astype(object).copy()
    for row in rows:
        chosen = cells_of(cells, table, row)
        labels[chosen] = cells["audited_label"].astype(object)[chosen]
    return as_categorical(labels).rename("audited_label")


def rows_of(layer: Layer, table: pd.DataFrame) -> list[int]:
    """Places in the audit of a layer's corrections; those that the audit no longer has are left out."""
    keys = list(zip(table["observed_label"], table["kind"], table["partner_label"], strict=True))
    wanted = {(c.observed_label, c.kind, c.partner_label) for c in layer.corrections}
    return [place for place, key in enumerate(keys) if key in wanted]


def side_by_side(cells: pd.DataFrame, audited: pd.Series) -> pd.DataFrame:
    """Scores of the query against published and against audited labels.

    Returns
    -------
    Two rows, ``published`` and ``audited``, with ``accuracy``, ``macro_f1``, ``n_correct``, ``n_scored`` and
    ``n_changed``, the query cells whose label differs. None where nothing can be scored.
    """
    narrow = cells[["side", "observed_label", "predicted_label"]]
    changed = int((audited.astype(object).fillna("") != narrow["observed_label"].astype(object).fillna("")).sum())
    rows = []
    for name, table in (("published", narrow), ("audited", narrow.assign(observed_label=audited.to_numpy(object)))):
        scores = evaluate.metrics(table)["query"]
        kept = {key: scores[key] for key in ("accuracy", "macro_f1", "n_correct", "n_scored")}
        rows.append({"labels": name, **kept, "n_changed": changed if name == "audited" else 0})
    return pd.DataFrame(rows)
