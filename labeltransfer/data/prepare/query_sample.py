"""Which query cells are trained on where there are too many: a sample in which no kind of cell is lost.

Cells are sorted into coarse strata: by the reference label whose cells they are most like, which finds rare kinds that
the reference knows, and by k-means of their expression, which separates kinds that it lacks. Each stratum of each
batch gives its share, a rare one more than that. Equal inputs give the same sample.
"""

from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD

from labeltransfer.storage.sparse import SCALE
from labeltransfer.strata import stratified

N_LANDMARKS = 20_000
"""Cells, drawn at random, from which informative genes and axes are found."""
N_INFORMATIVE = 1000
N_AXES = 20
MAX_STRATA = 50

Blocks = Callable[[], Iterator[sp.csc_matrix]]
"""Gives the counts of all cells in blocks, CSC of shape (n_cells_of_block, n_genes), again at each call."""


def draw_cells(blocks: Blocks, batches: np.ndarray, profiles: np.ndarray, *, most: int, seed: int = 0) -> np.ndarray:
    """Draw cells from each batch and each stratum.

    Parameters
    ----------
    blocks
        Counts of all cells.
    batches
        Number of each cell's batch, shape (n_cells,).
    profiles
        Mean expression of each reference label, from ``mean_profiles``.
    most
        How many cells to draw; every batch gives one at least, even where that makes more.
    seed
        Seed of the draw.

    Returns
    -------
    Mask of shape (n_cells,).
    """
    n_cells, n_batches = len(batches), len(np.unique(batches))
    n_strata = min(most // (20 * n_batches * len(profiles)), MAX_STRATA)
    strata = [batches]
    if n_batches * len(profiles) <= most // 2:
        landmarks = _landmarks(blocks, n_cells, seed)
        towards, at_mean = _directions(landmarks, profiles)
        axes = _axes(landmarks, seed)
        weights = np.hstack([towards, axes]).astype(np.float32)
        points = np.concatenate([log_normalised(block) @ weights for block in blocks()])
        strata.append((points[:, : len(profiles)] - at_mean).argmax(axis=1))
        if n_strata > 1:
            strata.append(_clusters(points[:, len(profiles) :], n_strata, seed))
    _, groups = np.unique(np.column_stack(strata), axis=0, return_inverse=True)
    groups = groups.ravel()
    # A quarter of the sample is spread evenly over the groups, the rest goes by size.
    least = max(1, most // (4 * (groups.max() + 1)))
    drawn = np.zeros(n_cells, bool)
    drawn[stratified(groups, most, np.random.default_rng(seed), least=least)] = True
    return drawn


def mean_profiles(blocks: Blocks, labels: np.ndarray) -> np.ndarray:
    """Mean log-normalised expression of each label, shape (n_labels, n_genes).

    ``labels`` numbers the label of each cell of ``blocks``, shape (n_cells,).
    """
    n_of = np.bincount(labels)
    member = sp.csr_matrix((np.ones(len(labels), np.float32), (labels, np.arange(len(labels)))))
    sums, first = 0, 0
    for block in blocks():
        stop = first + block.shape[0]
        sums = sums + (member[:, first:stop] @ log_normalised(block)).toarray().astype(np.float64)
        first = stop
    return sums / np.maximum(n_of, 1)[:, None]


def log_normalised(counts: sp.csc_matrix) -> sp.csc_matrix:
    """log1p of counts per 10,000 of each cell, float32; every cell has a count."""
    factors = (SCALE / np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()).astype(np.float32)
    data = np.log1p(counts.data * factors[counts.indices])
    return sp.csc_matrix((data, counts.indices, counts.indptr), shape=counts.shape)


def _landmarks(blocks: Blocks, n_cells: int, seed: int) -> sp.csr_matrix:
    """Log-normalised expression of some cells drawn at random, shape (n_landmarks, n_genes)."""
    chosen = np.zeros(n_cells, bool)
    rows = np.random.default_rng(seed).choice(n_cells, min(N_LANDMARKS, n_cells), replace=False)
    chosen[rows] = True
    parts, first = [], 0
    for block in blocks():
        parts.append(log_normalised(block[chosen[first : first + block.shape[0]]]))
        first += block.shape[0]
    return sp.vstack(parts, format="csr")


def _moments(landmarks: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    mean = np.asarray(landmarks.mean(axis=0)).ravel()
    squares = np.asarray(landmarks.multiply(landmarks).mean(axis=0)).ravel()
    return mean, np.maximum(squares - mean**2, 0)


def _directions(landmarks: sp.csr_matrix, profiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions towards each label, shape (n_genes, n_labels), and where on them the mean cell is, (n_labels,).

    What sets a cell apart from the mean cell is compared with what sets a label apart from the mean label, so that what
    differs between the technologies in all cells alike does not count. Genes weigh the less the more they vary.
    """
    mean, spread = _moments(landmarks)
    towards = (profiles - profiles.mean(axis=0)) / np.maximum(spread, np.median(spread) + 1e-3)
    towards /= np.linalg.norm(towards * np.sqrt(spread), axis=1, keepdims=True) + 1e-9
    return towards.T, towards @ mean


def _axes(landmarks: sp.csr_matrix, seed: int) -> np.ndarray:
    """Main axes of the genes that vary most, shape (n_genes, n_axes); other genes have no part in them."""
    genes = np.sort(np.argsort(-_moments(landmarks)[1], kind="stable")[:N_INFORMATIVE])
    own = landmarks[:, genes]
    found = TruncatedSVD(min(N_AXES, min(own.shape) - 1), random_state=seed).fit(own).components_
    axes = np.zeros((landmarks.shape[1], len(found)))
    axes[genes] = found.T
    return axes


def _clusters(points: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    """Number of each cell's cluster, shape (n_cells,)."""
    # Its habit of giving up small clusters for new ones would cost the rare kinds theirs.
    kmeans = MiniBatchKMeans(n_clusters, random_state=seed, n_init=3, batch_size=4096, reassignment_ratio=0)
    return kmeans.fit_predict(np.ascontiguousarray(points))
