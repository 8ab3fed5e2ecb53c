"""Logistic regression on standardised genes, which does not depend on how well the two technologies were integrated.

Source: scikit-learn; the choice of the method follows CellTypist (Domínguez Conde et al., Cross-tissue immune cell
analysis reveals tissue-specific features in humans, Science 2022).
"""

import numpy as np
import scipy.sparse as sp

from labeltransfer.classifiers.contract import PanelData
from labeltransfer.classifiers.linear import LinearVoter

MOST_DEVIATIONS = 10.0
"""Standard deviations at which an expression is cut off, so that no single gene decides."""


class Regression(LinearVoter):
    """Logistic regression on log-normalised, standardised genes."""

    name = "regression"
    title = "Logistic regression on standardised genes"
    description = "Adds up all chosen genes in deviations from the reference's mean, each with a weight for each label."
    effort = 5.0

    def learn_features(self, data: PanelData) -> None:
        """Mean and deviation of each gene.

        Query cells are standardised by the training cells too: by their own means, a query of one cell type would look
        like a bit of each.
        """
        self._mean, self._deviation = _mean_and_deviation(data.expression(data.training_rows))

    def features(self, data: PanelData, cells: np.ndarray) -> np.ndarray:
        """Expression in deviations from the mean, dense."""
        dense = (data.expression(cells).toarray() - self._mean) / self._deviation
        return np.clip(dense, -MOST_DEVIATIONS, MOST_DEVIATIONS, out=dense)


def _mean_and_deviation(expression: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each gene, shape (n_genes,), float32; 1 where a gene does not vary."""
    n_cells = max(expression.shape[0], 1)
    mean = np.asarray(expression.sum(axis=0)).ravel() / n_cells
    squares = np.asarray(expression.multiply(expression).sum(axis=0)).ravel() / n_cells
    deviation = np.sqrt(np.maximum(squares - mean**2, 0))
    return mean.astype(np.float32), np.where(deviation > 1e-6, deviation, 1).astype(np.float32)
