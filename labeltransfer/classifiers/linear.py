"""What the logistic regressions share: they differ in what of a cell they weigh. Source: scikit-learn."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.classifiers.contract import PanelData, Progress, Voter, in_columns

BLOCK = 10_000
"""Cells whose features are held dense at a time."""


class LinearVoter(Voter):
    """Multinomial logistic regression on features of a cell that a subclass makes of its counts."""

    needs = "counts"
    penalty: ClassVar[float] = 1.0
    """Inverse strength of the ridge penalty (scikit-learn's C)."""

    def learn_features(self, data: PanelData) -> None:  # most have nothing to learn
        """Learn from the training cells what :meth:`features` needs."""

    @abstractmethod
    def features(self, data: PanelData, cells: np.ndarray) -> np.ndarray | sp.csr_matrix:
        """Features of some cells, shape (n_cells_of_block, n_features), float32."""

    def fit(self, data: PanelData) -> None:
        """Learn the weights."""
        from sklearn.linear_model import LogisticRegression

        self.learn_features(data)
        self._model: Any = LogisticRegression(C=self.penalty, max_iter=300, tol=1e-3)
        self._model.fit(self.features(data, data.training_rows), data.training_labels)

    def probabilities(self, data: PanelData, *, progress: Progress = lambda share: None) -> pd.DataFrame:
        """Softmax of the weighted sums, ``BLOCK`` cells at a time."""
        n_cells = len(data.labels)
        soft = np.empty((n_cells, len(self._model.classes_)), np.float32)
        for cells in blocks(n_cells, BLOCK):
            soft[cells] = self._model.predict_proba(self.features(data, cells))
            progress((cells[-1] + 1) / n_cells)
        return in_columns(self._model.classes_, soft, data.names)


def blocks(n_cells: int, size: int) -> Iterator[np.ndarray]:
    """Rows of all cells, at most ``size`` at a time."""
    for first in range(0, n_cells, size):
        yield np.arange(first, min(first + size, n_cells))
