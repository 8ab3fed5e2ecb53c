"""Random forest on scVI's latent, which knows no labels.

Source: scikit-learn; the choice of the method follows popV (Ergen et al., Consensus prediction of cell type labels in
single-cell data with popV, Nature Genetics 2024).
"""

from typing import Any

import pandas as pd

from labeltransfer.classifiers.contract import PanelData, Progress, Voter, in_columns

N_TREES = 100


class Forest(Voter):
    """Random forest on the latent."""

    name = "forest"
    title = "Random forest on the latent"
    description = f"Takes the mean of {N_TREES} decision trees, each grown on a random part of the reference's latent."
    needs = "latent"
    vote = 0.0
    effort = 3.0

    def fit(self, data: PanelData) -> None:
        """Grow the trees."""
        from sklearn.ensemble import RandomForestClassifier

        self._model: Any = RandomForestClassifier(N_TREES, min_samples_leaf=2, n_jobs=-1, random_state=self.seed)
        self._model.fit(data.latent[data.training_rows], data.training_labels)

    def probabilities(self, data: PanelData, *, progress: Progress = lambda share: None) -> pd.DataFrame:
        """Mean of the trees' shares."""
        return in_columns(self._model.classes_, self._model.predict_proba(data.latent), data.names)
