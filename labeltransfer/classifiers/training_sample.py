"""Which labelled cells the panel is trained on."""

import numpy as np

from labeltransfer.strata import stratified

MOST_CELLS = 20_000
"""Reference cells that a classifier is trained on, at most; a sample keeps some of every label."""
LEAST_OF_A_LABEL = 200


def training_rows(labels: np.ndarray, rows: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Rows to train on: all of ``rows`` or, of more than ``MOST_CELLS``, a sample with every label.

    Parameters
    ----------
    labels
        Label of each cell, shape (n_cells,).
    rows
        Labelled reference cells that may be trained on, shape (n_labelled,).
    seed
        Seed of the sample.
    """
    if len(rows) <= MOST_CELLS:
        return rows
    rng = np.random.default_rng(seed)
    return np.sort(rows[stratified(labels[rows], MOST_CELLS, rng, least=LEAST_OF_A_LABEL)])
