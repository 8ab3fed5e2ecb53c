"""How far labels depend on chance: the same run under other seeds, cell by cell.

A seed decides the models' first weights, the order of the cells and the dropout. A label that changes with it is
undecided by the data, whatever its confidence; one that stays can still be wrong in the same way each time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labeltransfer.errors import RunError
from labeltransfer.params import Side

COLUMNS = ("cell_id", "side", "predicted_label")
"""Columns of the table of cells that this comparison reads."""


@dataclass(frozen=True)
class Stability:
    """How many seeds give each cell its label, the run's own included.

    ``agreeing`` has shape (n_cells,), each 1 to ``n_seeds``, in the order of the run's table of cells.
    """

    n_seeds: int
    agreeing: np.ndarray

    def __post_init__(self) -> None:
        if self.agreeing.ndim != 1 or (len(self.agreeing) and not 1 <= self.agreeing.min() <= self.agreeing.max()):
            raise ValueError(f"agreeing of shape {self.agreeing.shape}, or a cell that not even its own seed labels so")
        if len(self.agreeing) and self.agreeing.max() > self.n_seeds:
            raise ValueError(f"{self.agreeing.max()} seeds agree, of {self.n_seeds}")

    @property
    def changed(self) -> np.ndarray:
        """Whether any other seed gives the cell another label, shape (n_cells,), bool."""
        return self.agreeing < self.n_seeds


def compare_seeds(cells: pd.DataFrame, others: Sequence[pd.DataFrame]) -> Stability:
    """Compare a run's labels with those of the same run under other seeds.

    Parameters
    ----------
    cells
        The run's table of cells, n_cells rows, with ``cell_id``, ``side`` and ``predicted_label``.
    others
        Those of the related runs: the same cells in the same order.

    Raises
    ------
    RunError
        There is no other run, or one has other cells.
    """
    if not others:
        raise RunError("There is no finished run under another seed to compare with: start one.")
    own = cells["predicted_label"].astype("category").cat
    agreeing = np.ones(len(cells), np.int8)
    for other in others:
        if not _same_cells(cells, other):
            raise RunError(
                f"A run under another seed has {len(other):,} cells that are not this run's {len(cells):,} in the same "
                "order: its input files have changed since; start it again."
            )
        theirs = other["predicted_label"].astype("category").cat
        # Categories compared, not a million texts; -1 is a label that this run never gave.
        as_own = np.append(own.categories.get_indexer(theirs.categories), -1)
        agreeing += as_own[theirs.codes] == own.codes.to_numpy()
    return Stability(1 + len(others), agreeing)


def _same_cells(cells: pd.DataFrame, other: pd.DataFrame) -> bool:
    if len(cells) != len(other):
        return False
    return all(
        np.array_equal(cells[name].to_numpy(dtype=object), other[name].to_numpy(dtype=object))
        for name in ("cell_id", "side")
    )


def changed_per_label(cells: pd.DataFrame, found: Stability, *, side: Side = "query") -> pd.DataFrame:
    """Share of cells whose label changes with the seed, by the label that the run itself gives.

    Returns
    -------
    One row a label that cells of that side were given, the least stable first: ``predicted_label``, ``n_cells``,
    ``n_changed``, ``share_changed`` (of ``n_cells``).
    """
    own = (cells["side"] == side).to_numpy()
    changes = pd.DataFrame({"label": cells["predicted_label"].astype("category")[own], "changed": found.changed[own]})
    table = changes.groupby("label", observed=True)["changed"].agg(["size", "sum", "mean"]).reset_index()
    table.columns = pd.Index(["predicted_label", "n_cells", "n_changed", "share_changed"])
    table["predicted_label"] = table["predicted_label"].astype(str)
    order = ["share_changed", "predicted_label"]
    return table.sort_values(order, ascending=[False, True], ignore_index=True)


def changed_overall(cells: pd.DataFrame, found: Stability, *, side: Side = "query") -> tuple[int, int]:
    """Cells of a side whose label changes with the seed, and how many cells it has."""
    own = (cells["side"] == side).to_numpy()
    return int(found.changed[own].sum()), int(own.sum())


def in_words(found: Stability) -> pd.Series:
    """Number of agreeing seeds of each cell, such as '2 of 3 seeds', as categories, most agreement first."""
    numbers = range(found.n_seeds, 0, -1)
    names = [f"{n} of {found.n_seeds} seeds" for n in numbers]
    return pd.Series(pd.Categorical.from_codes((found.n_seeds - found.agreeing.astype(int)).tolist(), pd.Index(names)))
