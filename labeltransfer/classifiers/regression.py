"""Logistic regression on the genes, which does not depend on how well the two technologies were integrated.

Source: scikit-learn; the choice of the method follows CellTypist (Domínguez Conde et al., Cross-tissue immune cell
analysis reveals tissue-specific features in humans, Science 2022).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.classifiers.contract import PanelData, Progress, Voter, in_columns
from labeltransfer.storage.sparse import log_normalised

BLOCK = 20_000
"""Cells whose expression is held dense at a time."""
MOST_DEVIATIONS = 10.0
"""Standard deviations at which an expression is cut off, so that no single gene decides."""


class Regression(Voter):
    """Logistic regression on log-normalised, standardised genes."""

    name = "regression"
    title = "Logistic regression on the genes"
    description = "Adds up the expression of all chosen genes, each with a weight learnt for each label."
    needs = "counts"
    effort = 5.0

    def fit(self, data: PanelData) -> None:
        """Learn the weights."""
        from sklearn.linear_model import LogisticRegression

        # Query cells are standardised by the training cells too: by their own means, a query of one cell type would
        # look like a bit of each.
        self._mean, self._deviation = _mean_and_deviation(_expression(data, data.training_rows))
        self._model: Any = LogisticRegression(max_iter=200, tol=1e-3)
        self._model.fit(self._standardised(data, data.training_rows), data.training_labels)

    def probabilities(self, data: PanelData, *, progress: Progress = lambda share: None) -> pd.DataFrame:
        """Softmax of the weighted sums, ``BLOCK`` cells at a time."""
        n_cells = len(data.labels)
        soft = np.empty((n_cells, len(self._model.classes_)), np.float32)
        for cells in _blocks(n_cells):
            soft[cells] = self._model.predict_proba(self._standardised(data, cells))
            progress((cells[-1] + 1) / n_cells)
        return in_columns(self._model.classes_, soft, data.names)

    def _standardised(self, data: PanelData, cells: np.ndarray) -> np.ndarray:
        """Expression of some cells in deviations from the mean, shape (n_cells_of_block, n_genes), dense."""
        dense = (_expression(data, cells).toarray() - self._mean) / self._deviation
        return np.clip(dense, -MOST_DEVIATIONS, MOST_DEVIATIONS, out=dense)


def _expression(data: PanelData, cells: np.ndarray) -> sp.csr_matrix:
    return log_normalised(data.counts()[cells], data.n_counts[cells])


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
