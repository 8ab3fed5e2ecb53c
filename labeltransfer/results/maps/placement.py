"""Place further cells on a map that is already laid out, each among its nearest cells of the latent."""

import numpy as np
import torch

from labeltransfer.neighbours import nearest_rows

N_STEPS = 10
"""Steps from the median of the neighbours to the place; further ones move it by less than the scatter."""

SCATTER = 0.1
"""Scatter of a placed cell, as a share of its median distance to its neighbours on the map."""


def place(
    latent: np.ndarray, laid_out: np.ndarray, points: np.ndarray, *, n_neighbors: int = 15, seed: int = 0
) -> np.ndarray:
    """Place every other cell where its nearest laid-out cells pull it.

    A cell comes to rest where the sum of pymde's attractive penalty ``log(1 + d ** 1.5)`` over its nearest laid-out
    cells is lowest. That is no mean: a cell between two groups goes to the one that has more of its neighbours, not to
    the empty middle. A little scatter keeps cells with the same neighbours apart.

    Parameters
    ----------
    latent
        Array of shape (n_cells, n_latent), float32.
    laid_out
        Rows of ``latent`` that have a place already, array of shape (n_laid_out,), ascending.
    points
        Their places, array of shape (n_laid_out, 2), float32.
    n_neighbors
        Nearest laid-out cells that pull a cell; at most n_laid_out.
    seed
        Seed of the regions and of the scatter.

    Returns
    -------
    Array of shape (n_cells, 2), float32, with ``points`` in the rows ``laid_out``. Beyond it and the latent, memory
    grows with ``BLOCK`` and n_laid_out only.
    """
    others = np.setdiff1d(np.arange(len(latent)), laid_out, assume_unique=True)
    scatter = torch.from_numpy(np.random.default_rng(seed).standard_normal((len(others), 2), dtype=np.float32))
    places = torch.from_numpy(points)
    placed = torch.empty((len(others), 2))
    for rows, nearest in nearest_rows(latent, others, laid_out, k=n_neighbors, seed=seed):
        placed[rows] = _settle(places[nearest], scatter[rows])
    whole = np.empty((len(latent), 2), dtype=np.float32)
    whole[laid_out], whole[others] = points, placed.numpy()
    return whole


def _settle(pulling: torch.Tensor, scatter: torch.Tensor) -> torch.Tensor:
    """Where cells come to rest among ``pulling``, shape (n_block, k, 2), moved by ``scatter``, shape (n_block, 2)."""
    xs, ys = pulling.unbind(dim=2)
    x, y = xs.median(dim=1, keepdim=True).values, ys.median(dim=1, keepdim=True).values
    for _ in range(N_STEPS):  # weighted means: the weight of a neighbour is the penalty's slope over its distance
        distance = torch.hypot(xs - x, ys - y).add_(1e-6)
        root = distance.sqrt()
        weight = distance.mul_(root).add_(1).mul_(root).reciprocal_()
        weight /= weight.sum(dim=1, keepdim=True)
        x, y = (weight * xs).sum(dim=1, keepdim=True), (weight * ys).sum(dim=1, keepdim=True)
    room = torch.hypot(xs - x, ys - y).median(dim=1, keepdim=True).values
    return torch.cat([x, y], dim=1) + scatter * (SCATTER * room + 1e-5)
