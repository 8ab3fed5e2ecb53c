"""Logistic regression on log counts as they are, which another technology shifts less than standardised ones.

A gene that hardly varies in the reference, and does in the query, would decide if genes were divided by the reference's
deviations. Source: scikit-learn.
"""

import numpy as np
import scipy.sparse as sp

from labeltransfer.classifiers.contract import PanelData
from labeltransfer.classifiers.linear import LinearVoter


class LogRegression(LinearVoter):
    """Logistic regression on log-normalised genes, unscaled."""

    name = "log_regression"
    title = "Logistic regression on log counts"
    description = "Adds up the log counts of all chosen genes, each with a weight learnt for each label."
    effort = 3.0

    def features(self, data: PanelData, cells: np.ndarray) -> sp.csr_matrix:
        """Log-normalised expression of the chosen genes."""
        return data.expression(cells)
