"""Marker genes of the training labels, for voters that compare cells by a few genes."""

import numpy as np
import scipy.sparse as sp

N_MARKERS = 50
"""Genes that tell a label from all others together, shared out over the other labels."""
LEAST_OF_A_PAIR = 10
"""Genes that tell a label from any one other label, for close cell types in large references."""
SOFTENED = 0.05
"""Added to each gene's variance within labels: genes that hardly occur have no variance, and would come first."""


def marker_genes(expression: sp.csr_matrix, codes: np.ndarray, n_labels: int) -> np.ndarray:
    """Genes that are higher in one label than in another, by the difference of means over the deviation within labels.

    Parameters
    ----------
    expression
        Log-normalised expression of the training cells, CSR of shape (n_training, n_genes).
    codes
        Label of each of these cells, shape (n_training,), from 0 to ``n_labels`` - 1.
    n_labels
        Number of labels; those without a cell have no markers.

    Returns
    -------
    Columns of ``expression``, ascending, without repeats; all of them where fewer than two labels have cells.
    """
    sizes = np.bincount(codes, minlength=n_labels)
    present = np.flatnonzero(sizes)
    if len(present) < 2:
        return np.arange(expression.shape[1])
    mean, variance = _moments(expression, codes, n_labels)
    deviation = np.sqrt((variance * sizes[:, None]).sum(axis=0) / sizes.sum() + SOFTENED)
    n_each = max(LEAST_OF_A_PAIR, N_MARKERS // (len(present) - 1))
    found = np.zeros(expression.shape[1], bool)
    for own in present:
        for other in present[present != own]:
            effect = (mean[own] - mean[other]) / deviation
            found[np.argsort(-effect, kind="stable")[:n_each]] = True
    return np.flatnonzero(found)


def _moments(expression: sp.csr_matrix, codes: np.ndarray, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each gene within each label, both of shape (n_labels, n_genes); 0 where there is no cell."""
    sizes = np.maximum(np.bincount(codes, minlength=n_labels), 1)[:, None]
    mean = sums_by_label(expression, codes, n_labels) / sizes
    squares = sums_by_label(expression.multiply(expression), codes, n_labels) / sizes
    return mean, np.maximum(squares - mean**2, 0)


def sums_by_label(values: sp.csr_matrix, codes: np.ndarray, n_labels: int) -> np.ndarray:
    """Sum of the rows of each label, float64 array of shape (n_labels, n_genes); ``codes`` are the rows' labels."""
    n_cells = len(codes)
    member = sp.csr_matrix((np.ones(n_cells), (codes, np.arange(n_cells))), shape=(n_labels, n_cells))
    return (member @ values).toarray()


def standard_ranks(expression: sp.csr_matrix) -> np.ndarray:
    """Ranks of the genes within each cell, centred and of unit length: their products are Spearman correlations.

    Parameters
    ----------
    expression
        CSR of shape (n_cells, n_markers); a cell in which all genes are equal gets zeros.

    Returns
    -------
    Array of shape (n_cells, n_markers), float32.
    """
    from scipy.stats import rankdata

    ranks = rankdata(expression.toarray(), axis=1).astype(np.float32)
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.sqrt(np.square(ranks).sum(axis=1, keepdims=True))
    return ranks / np.maximum(length, np.float32(1e-6))
