"""The cells of a tile of the confusion matrix, the groups to compare them with, and what is known of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from labeltransfer.params import Side
from labeltransfer.results.scores.cells import METHODS
from labeltransfer.strata import stratified

Source = Literal["same", "reference"]
"""Where the parents come from: the tile's own side, or the reference, which may be of another technology."""

ENOUGH = 20
"""Cells of each parent on the tile's own side, below which the reference's are the better measure."""

MOST_READ = 20_000
"""Cells whose counts are kept in memory to compare genes; of more, a sample that keeps some of every pair of labels."""

LEAST_OF_PAIR = 300
"""Cells of each pair of labels that such a sample has before larger pairs get their share."""

MOST_COMPARED = 300
"""Cells of a group whose genes are compared; of more, a sample."""

NUMBERS = {
    "confidence": "Confidence",
    "distance_percentile": "Distance percentile",
    "agreement": "Methods that agree",
    "n_counts": "Counts",
    "n_genes": "Genes",
}
"""Columns whose medians are compared, with their names on screen."""


@dataclass(frozen=True)
class Group:
    """Some cells and what they are: ``rows`` are their rows in the table of cells, shape (n,), ascending."""

    name: str
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Pair:
    """A tile's cells and the two groups to compare them with."""

    these: Group
    parents: tuple[Group, Group]

    @property
    def groups(self) -> tuple[Group, Group, Group]:
        return (self.these, *self.parents)


def tile_rows(cells: pd.DataFrame, side: Side, observed: str, predicted: str) -> np.ndarray:
    """Rows of the cells of one side with these two labels, shape (n_tile,), ascending."""
    return np.flatnonzero(_is(cells, "side", side) & _is(cells, "observed_label", observed) & _given(cells, predicted))


def pair_of(cells: pd.DataFrame, side: Side, observed: str, predicted: str, *, source: Source) -> Pair:
    """The cells of a tile and its parents.

    The parents are the cells observed *and* predicted as the one label, and as the other. Where no cell is both, as
    with a label that the reference lacks, the parent is the other cells that are observed so. On the diagonal, where
    both labels are one, they are the cells that have it as only one of the two labels, and all other cells of the side.

    Parameters
    ----------
    cells
        The table of cells.
    side, observed, predicted
        The tile.
    source
        Side of the parents; the diagonal always looks at its own.
    """
    own = _is(cells, "side", side)
    of_observed, of_predicted = _is(cells, "observed_label", observed), _given(cells, predicted)
    these = Group("these cells", np.flatnonzero(own & of_observed & of_predicted))
    if observed == predicted:
        one_only = np.flatnonzero(own & (of_observed ^ of_predicted))
        disputed = Group(f"only observed or only predicted as {observed}", one_only)
        others = Group(f"other {side} cells", np.flatnonzero(own & ~of_observed & ~of_predicted))
        return Pair(these, (disputed, others))
    there = own if source == "same" else _is(cells, "side", "reference")
    which = side if source == "same" else "reference"
    parents = []
    for label in (observed, predicted):
        is_observed = of_observed if label == observed else _is(cells, "observed_label", label)
        both = there & is_observed & (of_predicted if label == predicted else _given(cells, label))
        name = f"{label}, {which}"
        others = there & is_observed & ~(own & of_observed & of_predicted)
        if not both.any() and others.any():
            both = others
            name = f"{label} (observed only), {which}"
        parents.append(Group(name, np.flatnonzero(both)))
    return Pair(these, (parents[0], parents[1]))


def best_source(cells: pd.DataFrame, side: Side, observed: str, predicted: str) -> Source:
    """Where to take a tile's parents from, unless the user chooses.

    The tile's own side where it has ``ENOUGH`` cells of both, because both are of one technology there, and where the
    reference lacks one of the labels and the own side has cells to compare with.
    """
    if side == "reference" or observed == predicted:
        return "same"
    own = _is(cells, "side", side)
    enough = all(
        (own & _is(cells, "observed_label", label) & _given(cells, label)).sum() >= ENOUGH
        for label in (observed, predicted)
    )
    there = _is(cells, "side", "reference")
    known = all((there & _is(cells, "observed_label", label)).any() for label in (observed, predicted))
    any_there = any(len(parent) for parent in pair_of(cells, side, observed, predicted, source="same").parents)
    return "same" if enough or (not known and any_there) else "reference"


def group_medians(cells: pd.DataFrame, groups: Sequence[Group]) -> pd.DataFrame:
    """Medians of each group: a row a group with ``group``, ``n_cells`` and those of ``NUMBERS`` that the run has."""
    names = [name for name in NUMBERS if name in cells]
    columns = {name: cells[name].to_numpy(dtype=float) for name in names}
    return pd.DataFrame(
        [
            {"group": group.name, "n_cells": len(group)}
            | {name: np.median(columns[name][group.rows]) if len(group) else np.nan for name in names}
            for group in groups
        ]
    )


def labels_by_method(cells: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Labels that each method gives to some cells; ``rows`` are theirs in the table, shape (n_chosen,).

    Returns
    -------
    One row a label that any method gives them, the commonest first: ``label`` and the number of cells by name of the
    method (:data:`.cells.METHODS`; those alone that the run has).
    """
    columns = {f"{key}_label": name for key, name in METHODS.items()}
    columns = {column: name for column, name in columns.items() if column in cells}
    counts = {name: cells[column].iloc[rows].value_counts().rename(index=str) for column, name in columns.items()}
    table = pd.DataFrame(counts).fillna(0).astype(int)
    table = table[table.sum(axis=1) > 0]
    order = np.lexsort((table.index.to_numpy(dtype=str), -table.sum(axis=1).to_numpy()))
    return table.iloc[order].rename_axis("label").reset_index()


def read_rows(cells: pd.DataFrame, *, seed: int = 0) -> np.ndarray:
    """Rows of the cells whose counts are kept in memory: all, or of more than ``MOST_READ`` a sample.

    Array of shape (n_read,), ascending.
    """
    if len(cells) <= MOST_READ:
        return np.arange(len(cells))
    names = ["side", "observed_label", "predicted_label"]
    groups = cells[names].groupby(names, observed=True, dropna=False, sort=False).ngroup().to_numpy()
    return np.sort(stratified(groups, MOST_READ, np.random.default_rng(seed), least=LEAST_OF_PAIR))


def compared_rows(rows: np.ndarray, read: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Places in ``read`` of ``rows`` to compare, at most ``MOST_COMPARED``, shape (n_compared,); all ascend."""
    places = np.flatnonzero(np.isin(read, rows, assume_unique=True))
    if len(places) <= MOST_COMPARED:
        return places
    return np.sort(np.random.default_rng(seed).choice(places, MOST_COMPARED, replace=False))


def _is(cells: pd.DataFrame, column: str, value: str) -> np.ndarray:
    """Which cells have a value, shape (n_cells,); a missing one is no value."""
    return (cells[column] == value).to_numpy(dtype=bool)


def _given(cells: pd.DataFrame, label: str) -> np.ndarray:
    return _is(cells, "predicted_label", label)
