"""How far a cell lies from the labelled reference cells: doubt that does not come from a classifier.

A classifier divides the whole latent among the labels that it knows, so a cell of a kind that it has never seen gets
one of them, often with full confidence. Its distance from every labelled cell gives it away.

Source: distance to the k-th neighbours as a score of novelty, Ramaswamy et al., SIGMOD 2000; for reference mapping,
Lotfollahi et al. (scArches), Nature Biotechnology 2022.
"""

from dataclasses import dataclass

import numpy as np

from labeltransfer.results.maps.neighbours import nearest_rows

K = 15
"""Labelled cells that a cell is compared with."""


@dataclass(frozen=True)
class Neighbours:
    """Each cell's nearest labelled reference cells in a latent, without the cell itself, nearest first.

    ``rows`` are rows of the table of cells and ``distances`` Euclidean, both arrays of shape (n_cells, k).
    """

    rows: np.ndarray
    distances: np.ndarray

    def __post_init__(self) -> None:
        if self.rows.shape != self.distances.shape or self.rows.ndim != 2:
            raise ValueError(f"rows of shape {self.rows.shape}, distances of shape {self.distances.shape}")


def neighbours(latent: np.ndarray, anchors: np.ndarray, *, k: int = K, seed: int = 0) -> Neighbours:
    """Look for every cell's nearest anchors.

    Parameters
    ----------
    latent
        Array of shape (n_cells, n_latent).
    anchors
        Rows of the labelled reference cells, shape (n_anchors,), ascending.
    k
        Neighbours of a cell; fewer where there are fewer anchors.
    """
    latent = np.ascontiguousarray(latent, dtype=np.float32)
    n_cells, k = len(latent), min(k, len(anchors) - 1)
    everyone = np.arange(n_cells)
    found = np.empty((n_cells, k), np.int64)
    distances = np.empty((n_cells, k), np.float32)
    for block, places in nearest_rows(latent, everyone, anchors, k=k + 1, seed=seed):
        rows, near = block.numpy(), anchors[places.numpy()]
        # A labelled cell is its own nearest, but for one with a twin: then either may stand first.
        itself = near == rows[:, None]
        itself[~itself.any(axis=1), -1] = True
        near = near[~itself].reshape(len(rows), k)
        found[rows] = near
        distances[rows] = np.linalg.norm(latent[near] - latent[rows][:, None, :], axis=2)
    order = np.argsort(distances, axis=1, kind="stable")
    return Neighbours(np.take_along_axis(found, order, axis=1), np.take_along_axis(distances, order, axis=1))


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
