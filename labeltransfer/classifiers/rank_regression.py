"""Logistic regression on the ranks of marker genes within each cell, which neither depth nor scale changes.

Source: scikit-learn; ranks within a cell in place of counts follow SingleR (Aran et al., Nature Immunology 2019).
"""

import numpy as np

from labeltransfer.classifiers.contract import PanelData
from labeltransfer.classifiers.linear import LinearVoter
from labeltransfer.classifiers.markers import standard_ranks


class RankRegression(LinearVoter):
    """Logistic regression on ranks of marker genes."""

    name = "rank_regression"
    title = "Logistic regression on gene ranks"
    description = "Ranks the marker genes within each cell and weighs the ranks, so that depth does not matter to it."
    effort = 2.0
    penalty = 0.01  # of 1 and 0.01, this carried over better to queries of another technology or study

    def features(self, data: PanelData, cells: np.ndarray) -> np.ndarray:
        """Ranks of the marker genes, of mean 0 and variance 1 within a cell."""
        return standard_ranks(data.expression(cells, data.markers)) * np.float32(np.sqrt(len(data.markers)))
