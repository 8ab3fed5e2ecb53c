"""Mean profiles of the labels, with a factor of each gene that the query's technology multiplies its counts by.

A technology counts some genes more readily than another. The factors are learnt from the query alone: labels are
guessed by the likelihood of each cell's counts, factors follow from the guess, and so on (expectation-maximisation).
Source: the multinomial mixture, Nigam et al., Text classification from labeled and unlabeled documents using EM,
Machine Learning 2000; factors of genes like the platform effects of RCTD (Cable et al., Robust decomposition of cell
type mixtures in spatial transcriptomics, Nature Biotechnology 2022).
"""

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.special import softmax

from labeltransfer.classifiers.contract import PanelData, Progress, Voter
from labeltransfer.classifiers.markers import sums_by_label

ROUNDS = 20
SHARED_COUNTS = 2_000.0
"""Counts of the mean of all labels that each label's profile is mixed with: a label of few cells has counts of few."""
INFORMATIVE_COUNTS = 100.0
"""Counts of a cell that its likelihood weighs at most: counts are more variable than a multinomial has them, and the
genes of a programme rise together."""
PRIOR_COUNTS = 5.0
"""Added to observed and expected counts of a gene, so that rare genes get no extreme factor."""


class Profiles(Voter):
    """Multinomial likelihood of each label's profile, with gene factors of the query."""

    name = "profiles"
    title = "Count profiles with gene factors"
    description = (
        "Compares each cell's counts of marker genes with the mean of each label, after learning from the query how "
        "much more or less its technology counts each gene."
    )
    needs = "counts"
    effort = 1.0

    def fit(self, data: PanelData) -> None:
        """Sum the counts of each label, and learn the factors of the query's genes."""
        codes = data.training_codes
        counts = data.counts()[data.training_rows][:, data.markers]
        sums = sums_by_label(counts, codes, len(data.names))
        self._known = np.unique(codes)
        shared = sums.sum(axis=0) + 1
        sums = sums[self._known] + SHARED_COUNTS * shared / shared.sum()
        self._profiles = sums / sums.sum(axis=1, keepdims=True)
        self.factors = np.zeros(len(data.markers))
        query = data.counts()[data.is_query][:, data.markers]
        if query.sum() > 0:
            self.factors = _gene_factors(query, self._profiles)

    def probabilities(self, data: PanelData, *, progress: Progress = lambda share: None) -> pd.DataFrame:
        """Softmax of the log-likelihoods; the query's cells with the gene factors, the reference's without."""
        soft = np.zeros((len(data.labels), len(data.names)), np.float32)
        counts = data.counts()[:, data.markers]
        for cells, factors in ((data.is_query, self.factors), (~data.is_query, np.zeros(len(data.markers)))):
            found = softmax(_log_likelihoods(counts[cells], _shifted(self._profiles, factors)), axis=1)
            soft[np.ix_(np.flatnonzero(cells), self._known)] = found
        return pd.DataFrame(soft, columns=list(data.names))


def _shifted(profiles: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Profiles as the query's technology shows them, shape (n_labels, n_genes), rows sum to 1."""
    shifted = profiles * np.exp(factors)
    return shifted / shifted.sum(axis=1, keepdims=True)


def _log_likelihoods(counts: sp.csr_matrix, profiles: np.ndarray) -> np.ndarray:
    """Of each label for each cell, shape (n_cells, n_labels), as of at most ``INFORMATIVE_COUNTS`` counts."""
    n_counts = np.maximum(np.asarray(counts.sum(axis=1)), 1)
    return (counts @ np.log(profiles).T) * (np.minimum(n_counts, INFORMATIVE_COUNTS) / n_counts)


def _gene_factors(counts: sp.csr_matrix, profiles: np.ndarray) -> np.ndarray:
    """Logarithms of the factors of the query's genes, shape (n_genes,), their mean over its counts 0."""
    n_labels, n_genes = profiles.shape
    observed = np.asarray(counts.sum(axis=0)).ravel()
    n_counts = np.asarray(counts.sum(axis=1)).ravel()
    factors, shares = np.zeros(n_genes), np.full(n_labels, 1 / n_labels)
    for _ in range(ROUNDS):
        soft = softmax(_log_likelihoods(counts, _shifted(profiles, factors)) + np.log(shares), axis=1)
        scale = (profiles * np.exp(factors)).sum(axis=1)
        expected = ((soft * n_counts[:, None]).sum(axis=0) / scale) @ profiles
        found = np.log((observed + PRIOR_COUNTS) / (expected + PRIOR_COUNTS))
        found -= np.average(found, weights=observed + 1)
        factors = (factors + found) / 2
        # Half of the way to equal shares: a label that is rare in the query is not swallowed by a common one.
        shares = (soft.mean(axis=0) + 1 / n_labels) / 2
    return factors
