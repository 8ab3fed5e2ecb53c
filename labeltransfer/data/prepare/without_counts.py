"""Cells without a count in the chosen genes: they stay in the table, and no model is trained on them.

scVI divides by a cell's counts in these genes, so that one such cell would make the loss of all cells no number.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from labeltransfer.data.prepare.cell_table import SIDES
from labeltransfer.data.prepare.sides import check_labels
from labeltransfer.errors import SettingsError
from labeltransfer.params import UNKNOWN, SideParams
from labeltransfer.storage.sparse import OutOfCoreTranspose
from labeltransfer.units import counted, named, shorten

N_NAMED = 5
"""Cells that a sentence names."""


def totals_in(transpose: OutOfCoreTranspose, genes: np.ndarray) -> np.ndarray:
    """Counts of every cell in some genes, a mask of shape (n_genes,): array of shape (n_cells,), float64."""
    sums = [np.asarray(piece[genes].sum(axis=0, dtype=np.float64)).ravel() for _, piece in transpose.pieces()]
    return np.concatenate(sums) if sums else np.zeros(0)


def set_aside(
    obs: pd.DataFrame, reference: SideParams, *, n_chosen: int, report: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Train on no cell without a count in the chosen genes; such a cell of the reference teaches no label either.

    Parameters
    ----------
    obs
        Table of cells, changed in place: ``trained_on``, ``training_label`` and ``batch``. Its ``n_counts_chosen`` are
        the counts of each cell in the chosen genes.
    reference
        Settings of the reference, for errors.
    n_chosen
        Number of chosen genes, for sentences.
    report
        Called with a sentence for each side with such cells.

    Returns
    -------
    Tally of each side: ``n_without_chosen``, the number of its cells without a count in the chosen genes.

    Raises
    ------
    SettingsError
        A side has no cell with such a count, or the reference has fewer than 2 labels in such cells.
    """
    empty, side = (obs["n_counts_chosen"] == 0).to_numpy(), obs["side"].astype(object).to_numpy()
    present = [name for name in SIDES if (side == name).any()]
    tallies: dict[str, dict[str, Any]] = {
        name: {"n_without_chosen": int((empty & (side == name)).sum())} for name in present
    }
    if not empty.any():
        return tallies
    for name in present:
        own = obs.index[empty & (side == name)]
        if len(own) == (side == name).sum():
            raise SettingsError(
                f"No cell of the {name} has a count in the {n_chosen:,} chosen genes: ask for more genes "
                "(n_top_genes), or check that the file holds raw counts."
            )
        if len(own):
            report(
                f"Without a count in the {n_chosen:,} chosen genes: {counted(len(own), 'cell')} of the {name} "
                f"({shorten(map(named, own), N_NAMED)}). No model is trained on them, and those that look at these "
                "genes alone see nothing of them."
            )
    labels = obs["training_label"].astype(object)
    labels[empty] = UNKNOWN
    check_labels(labels[labels != UNKNOWN].to_numpy(), reference)
    obs["training_label"] = labels.astype("category")
    obs["trained_on"] = _without(obs["trained_on"].to_numpy(), empty, obs["batch"].to_numpy())
    _join_batches(obs, side)
    return tallies


def _without(trained: np.ndarray, empty: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """The cells to train on without those that are empty; others of a batch take the place of its last ones."""
    kept = trained & ~empty
    for batch in pd.unique(batches[trained & empty]):
        own = batches == batch
        if not (own & kept).any():
            spare = np.flatnonzero(own & ~empty)
            kept[spare[: int((own & trained).sum())]] = True
    return kept


def _join_batches(obs: pd.DataFrame, side: np.ndarray) -> None:
    """Count cells of a batch that no model knows among the largest batch of their side."""
    batches = obs["batch"].astype(object)
    known = obs["trained_on"].to_numpy()
    for name in pd.unique(side):
        own = side == name
        unknown = own & ~batches.isin(set(batches[own & known])).to_numpy()
        if unknown.any():
            batches[unknown] = batches[own & known].value_counts().idxmax()
    obs["batch"] = pd.Categorical(batches, categories=batches.unique())
