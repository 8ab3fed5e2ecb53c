"""Votes of the nearest labelled cells in scVI's latent.

scVI's latent knows no labels. The choice of the method follows popV (Ergen et al., Consensus prediction of cell type
labels in single-cell data with popV, Nature Genetics 2024), the weights scArches (Lotfollahi et al., Mapping
single-cell data to reference atlases by transfer learning, Nature Biotechnology 2022).
"""

import numpy as np
import pandas as pd

from labeltransfer.classifiers.contract import PanelData, Progress, Voter


class KNN(Voter):
    """Weighted votes of the nearest training cells; a vote weighs ``exp(-d² / s²)``.

    d is the distance of the neighbour, s that of the cell's farthest neighbour.
    """

    name = "knn"
    title = "kNN on the latent"
    description = "Takes a vote among the nearest labelled reference cells in the latent; near ones count more."
    needs = "latent"
    vote = 0.0
    effort = 0.0

    def fit(self, data: PanelData) -> None:
        """Nothing to learn: the data come with each cell's nearest training cells."""

    def probabilities(self, data: PanelData, *, progress: Progress = lambda share: None) -> pd.DataFrame:
        """Share of the votes that each label gets."""
        nearest, distances = data.near.rows, data.near.distances
        code_of = pd.Index(data.names).get_indexer(pd.Index(data.labels.astype(str)))
        widest = np.maximum(distances.max(axis=1, keepdims=True), 1e-12)
        weight = np.exp(-((distances / widest) ** 2)).astype(np.float32)
        votes = np.zeros((len(nearest), len(data.names)), np.float32)
        rows = np.repeat(np.arange(len(nearest)), nearest.shape[1])
        np.add.at(votes, (rows, code_of[nearest].ravel()), weight.ravel())
        return pd.DataFrame(votes / votes.sum(axis=1, keepdims=True), columns=list(data.names))
