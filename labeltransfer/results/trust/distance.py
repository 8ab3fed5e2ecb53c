"""How far a cell lies from the labelled reference cells: a sign of novelty that does not come from a classifier.

A classifier divides the whole latent among the labels that it knows, so a cell of a kind that it has never seen gets
one of them, often with full confidence. Its distance from every labelled cell gives it away.

Source: distance to the k-th neighbours as a score of novelty, Ramaswamy et al., SIGMOD 2000; for reference mapping,
Lotfollahi et al. (scArches), Nature Biotechnology 2022.
"""

import numpy as np

from labeltransfer.neighbours import Neighbours


def distance_percentile(near: Neighbours, is_reference: np.ndarray) -> np.ndarray:
    """Mean distance to the nearest labelled cells, as a percentile of the reference cells' own.

    Parameters
    ----------
    near
        Neighbours of every cell.
    is_reference
        Which cells have a label that the models know, shape (n_cells,).

    Returns
    -------
    Array of shape (n_cells,), float32: 100 means farther than every labelled reference cell lies from the others.
    """
    mean = near.distances.mean(axis=1)
    own = np.sort(mean[is_reference])
    return (100 * np.searchsorted(own, mean, side="right") / len(own)).astype(np.float32)
