"""Which query cells are trained on where there are too many: a sample in which no kind of cell is lost.

Cells are sorted into coarse strata of similar expression, and each stratum of each batch gives its share, a rare one
more than that. Equal inputs give the same sample.
"""

from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD

N_LANDMARKS = 20_000
"""Cells, drawn at random, from which informative genes and axes are told."""
N_INFORMATIVE = 1000
N_AXES = 20
MAX_STRATA = 100
SCALE = 1e4

Blocks = Callable[[], Iterator[sp.csr_matrix]]
"""Gives the counts of all query cells in blocks, CSR of shape (n_cells_of_block, n_genes), anew at each call."""


def draw_cells(blocks: Blocks, batches: np.ndarray, *, most: int, seed: int = 0) -> np.ndarray:
    """Draw cells from each batch and each stratum of expression.

    Parameters
    ----------
    blocks
        Counts of all cells.
    batches
        Number of each cell's batch, shape (n_cells,).
    most
        How many cells to draw; every batch gives one at least, even where that makes more.
    seed
        Seed of the draw.

    Returns
    -------
    Mask of shape (n_cells,).
    """
    n_batches = len(np.unique(batches))
    n_strata = int(np.clip(most // (20 * n_batches), 1, MAX_STRATA))
    strata = expression_strata(blocks, len(batches), n_strata=n_strata, seed=seed)
    _, groups = np.unique(batches.astype(np.int64) * n_strata + strata, return_inverse=True)
    sizes = np.bincount(groups)
    quota = quotas(sizes, most)
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(groups)), groups))
    place = np.empty(len(groups), np.int64)  # of each cell within its group, at random
    place[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place < quota[groups]


def quotas(sizes: np.ndarray, most: int) -> np.ndarray:
    """Cells to draw from each group: a quarter of the sample is spread evenly, the rest by size.

    Small groups are taken whole. The result adds up to ``most``, except that no group goes without a cell.
    """
    if sizes.sum() <= most:
        return sizes.copy()
    floor = np.minimum(sizes, max(1, most // (4 * len(sizes))))
    rest, left = sizes - floor, max(0, most - int(floor.sum()))
    share = rest * (left / max(1, int(rest.sum())))
    quota = floor + share.astype(np.int64)
    missing = floor.sum() + left - quota.sum()
    largest = np.argsort(-(share % 1), kind="stable")[:missing]  # what rounding down has left over
    quota[largest] += 1
    return quota


def expression_strata(blocks: Blocks, n_cells: int, *, n_strata: int, seed: int = 0) -> np.ndarray:
    """Sort cells into strata of similar expression; their numbers have shape (n_cells,).

    Log-normalised counts over the genes that vary most among landmark cells, brought to the landmarks' 20 main axes, are
    clustered by k-means.
    """
    if n_strata == 1:
        return np.zeros(n_cells, np.int64)
    rng = np.random.default_rng(seed)
    chosen = np.zeros(n_cells, bool)
    chosen[rng.choice(n_cells, min(N_LANDMARKS, n_cells), replace=False)] = True
    parts, first = [], 0
    for block in blocks():
        parts.append(_log_normalised(block[chosen[first : first + block.shape[0]]]))
        first += block.shape[0]
    landmarks = sp.vstack(parts, format="csr")
    squares = landmarks.multiply(landmarks).mean(axis=0)
    spread = np.asarray(squares - np.square(landmarks.mean(axis=0))).ravel()
    genes = np.sort(np.argsort(-spread, kind="stable")[:N_INFORMATIVE])
    landmarks = landmarks[:, genes]
    axes = TruncatedSVD(min(N_AXES, min(landmarks.shape) - 1), random_state=seed).fit(landmarks)
    points = np.concatenate([axes.transform(_log_normalised(block)[:, genes]) for block in blocks()])
    kmeans = MiniBatchKMeans(n_strata, random_state=seed, n_init=1, batch_size=4096)
    return kmeans.fit_predict(points.astype(np.float32)).astype(np.int64)


def _log_normalised(counts: sp.csr_matrix) -> sp.csr_matrix:
    """log1p of counts per 10,000 of each cell, float32; every cell has a count."""
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    data = np.log1p(counts.data * np.repeat(SCALE / totals, np.diff(counts.indptr))).astype(np.float32)
    return sp.csr_matrix((data, counts.indices, counts.indptr), shape=counts.shape)
