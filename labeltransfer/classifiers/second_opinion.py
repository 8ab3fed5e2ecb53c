"""Classifiers beside scANVI, trained on the same reference cells: what else could be said of a cell.

kNN and a random forest look at the scVI latent, which knows no labels; logistic regression looks at the genes, and so
does not depend on how well the two technologies were brought together. Where scANVI fails, one of them may not.

Source: scikit-learn; the choice of the three follows popV (Ergen et al., Consensus prediction of cell type labels in
single-cell data with popV, Nature Genetics 2024) and CellTypist (Domínguez Conde et al., Science 2022).
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from labeltransfer.storage.sparse import log_normalised
from labeltransfer.strata import stratified

Method = Literal["knn", "forest", "regression"]
N_TREES = 100
MOST_CELLS = 20_000
"""Reference cells that a classifier learns from, at most; a sample keeps some of every label."""
LEAST_OF_A_LABEL = 200
BLOCK = 20_000
"""Cells whose expression is held dense at a time."""
MOST_DEVIATIONS = 10.0
"""Standard deviations at which an expression is cut off, so that no single gene decides."""

Progress = Callable[[float], None]


def taught_on(labels: np.ndarray, rows: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Rows that classifiers learn from: all of ``rows`` or, of more than ``MOST_CELLS``, a sample with every label.

    Parameters
    ----------
    labels
        Label of each cell, shape (n_cells,).
    rows
        Labelled reference cells that may be learnt from, shape (n_labelled,).
    """
    if len(rows) <= MOST_CELLS:
        return rows
    rng = np.random.default_rng(seed)
    return np.sort(rows[stratified(labels[rows], MOST_CELLS, rng, least=LEAST_OF_A_LABEL)])


def knn_soft(nearest: np.ndarray, distances: np.ndarray, labels: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Votes of the nearest labelled cells, the near ones counting more.

    Parameters
    ----------
    nearest
        Rows of each cell's nearest labelled reference cells, shape (n_cells, k), without the cell itself.
    distances
        Their distances in the latent, shape (n_cells, k).
    labels
        Label of each cell, shape (n_cells,).
    names
        Labels, in the order of the columns.

    Returns
    -------
    Shares of the votes, shape (n_cells, n_labels), float32; rows sum to 1. A vote weighs ``exp(-d² / s²)``, with s the
    distance of the cell's farthest neighbour, as scArches weighs its own.
    """
    code_of = pd.Index(names).get_indexer(pd.Index(labels.astype(str)))
    widest = np.maximum(distances.max(axis=1, keepdims=True), 1e-12)
    weight = np.exp(-((distances / widest) ** 2)).astype(np.float32)
    votes = np.zeros((len(nearest), len(names)), np.float32)
    rows = np.repeat(np.arange(len(nearest)), nearest.shape[1])
    np.add.at(votes, (rows, code_of[nearest].ravel()), weight.ravel())
    return pd.DataFrame(votes / votes.sum(axis=1, keepdims=True), columns=names)


def forest_soft(
    latent: np.ndarray, labels: np.ndarray, rows: np.ndarray, names: list[str], *, seed: int = 0
) -> pd.DataFrame:
    """Random forest on the latent, an array of shape (n_cells, n_latent), taught on ``rows``.

    Returns
    -------
    Probability of each label for each cell, shape (n_cells, n_labels), float32.
    """
    forest = RandomForestClassifier(N_TREES, min_samples_leaf=2, n_jobs=-1, random_state=seed)
    forest.fit(latent[rows], labels[rows].astype(str))
    return _by_name(forest.classes_, forest.predict_proba(latent), names)


def regression_soft(
    counts: sp.csr_matrix,
    n_counts: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    names: list[str],
    *,
    progress: Progress = lambda share: None,
) -> pd.DataFrame:
    """Logistic regression on log-normalised, standardised genes, taught on ``rows``.

    Parameters
    ----------
    counts
        Counts, CSR of shape (n_cells, n_genes).
    n_counts
        Counts per cell over all shared genes, shape (n_cells,).
    labels, rows, names
        As for :func:`forest_soft`.

    progress
        Told the share of cells that are done.

    Returns
    -------
    Probability of each label for each cell, shape (n_cells, n_labels), float32.
    """

    def expression(cells: np.ndarray) -> sp.csr_matrix:
        return log_normalised(counts[cells], n_counts[cells])

    # By the taught cells, query cells too: by its own means, a query of one cell type would look like a bit of each.
    mean, deviation = _mean_and_deviation(expression(rows))

    def standardised(cells: np.ndarray) -> np.ndarray:
        dense = (expression(cells).toarray() - mean) / deviation
        return np.clip(dense, -MOST_DEVIATIONS, MOST_DEVIATIONS, out=dense)

    model = LogisticRegression(max_iter=200, tol=1e-3)
    model.fit(standardised(rows), labels[rows].astype(str))
    soft = np.empty((counts.shape[0], len(model.classes_)), np.float32)
    for cells in _blocks(counts.shape[0]):
        soft[cells] = model.predict_proba(standardised(cells))
        progress((cells[-1] + 1) / counts.shape[0])
    return _by_name(model.classes_, soft, names)


def _mean_and_deviation(expression: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each gene, shape (n_genes,), float32; 1 where a gene does not vary."""
    n_cells = max(expression.shape[0], 1)
    mean = np.asarray(expression.sum(axis=0)).ravel() / n_cells
    squares = np.asarray(expression.multiply(expression).sum(axis=0)).ravel() / n_cells
    deviation = np.sqrt(np.maximum(squares - mean**2, 0))
    return mean.astype(np.float32), np.where(deviation > 1e-6, deviation, 1).astype(np.float32)


def _blocks(n_cells: int) -> Iterator[np.ndarray]:
    for first in range(0, n_cells, BLOCK):
        yield np.arange(first, min(first + BLOCK, n_cells))


def _by_name(classes: Any, soft: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Probabilities under the labels in their common order; a label that was not taught gets 0."""
    found = pd.DataFrame(soft.astype(np.float32), columns=list(map(str, classes)))
    return found.reindex(columns=names, fill_value=np.float32(0))
