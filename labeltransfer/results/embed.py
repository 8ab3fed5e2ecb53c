"""A map of a latent in two dimensions."""

import warnings

import numpy as np
import scipy.sparse.csgraph
import scipy.sparse.linalg

from labeltransfer.errors import RunError, SettingsError

MIN_CELLS = 10
"""Fewer cells give a drawing of nothing, and its spectral start has no solution."""


def mde(latent: np.ndarray, *, n_neighbors: int = 15, repulsive_fraction: float = 0.7, seed: int = 0) -> np.ndarray:
    """Minimum-distortion embedding that keeps neighbours close and pushes other pairs apart.

    Same settings as the function that scvi-tools once had (``scvi.model.utils.mde``), with a seed.

    Parameters
    ----------
    latent
        Array of shape (n_cells, n_latent).
    n_neighbors
        Nearest cells that the map tries to keep close; reduced, with a warning, where there are too few cells.
    repulsive_fraction
        Pairs pushed apart per pair kept close.
    seed
        Seed of torch and pymde, which are process-wide.

    Returns
    -------
    Array of shape (n_cells, 2), float32: zero mean, unit variance and no correlation between the axes.

    Raises
    ------
    SettingsError
        There are fewer than ``MIN_CELLS`` cells.
    RunError
        The latent holds values that are not finite: the training before it diverged.

    References
    ----------
    Agrawal, Ali and Boyd, Minimum-distortion embedding, arXiv:2103.02559.
    """
    latent = np.ascontiguousarray(latent, dtype=np.float32)
    n_cells = latent.shape[0]
    if n_cells < MIN_CELLS:
        raise SettingsError(
            f"A map needs at least {MIN_CELLS} cells, and {n_cells} were left: widen the filters of the two files."
        )
    if not np.isfinite(latent).all():
        raise RunError(
            "The latent holds values that are not numbers, so its training diverged: lower the learning rate."
        )
    if n_neighbors >= n_cells:
        warnings.warn(
            f"{n_neighbors} neighbours were asked for, and each cell has {n_cells - 1} others: the map uses those.",
            stacklevel=2,
        )
        n_neighbors = n_cells - 1

    import pymde  # with torch, it takes seconds to import: only the worker does so
    import torch

    pymde.seed(seed)
    problem = pymde.preserve_neighbors(
        _distinct(latent, seed),
        embedding_dim=2,
        constraint=pymde.Standardized(),
        repulsive_fraction=repulsive_fraction,
        n_neighbors=n_neighbors,
        init="random",  # pymde's own spectral start cannot be seeded, so it is made below
        device="cpu",
    )
    weights = problem.distortion_function.weights.numpy()
    start = _spectral_start(problem.edges.numpy()[weights > 0], weights[weights > 0], n_cells, seed)
    return problem.embed(X=problem.constraint.project_onto_constraint(torch.from_numpy(start))).numpy()


def _spectral_start(edges: np.ndarray, weights: np.ndarray, n_cells: int, seed: int) -> np.ndarray:
    """Second and third eigenvector of the neighbour graph's Laplacian, array of shape (n_cells, 2), float32."""
    upper = scipy.sparse.coo_matrix((weights, edges.T), shape=(n_cells, n_cells)).tocsr()
    laplacian = scipy.sparse.csgraph.laplacian((upper + upper.T).astype(np.float64))
    rng = np.random.default_rng(seed)
    values, vectors = scipy.sparse.linalg.eigsh(
        laplacian,
        3,
        which="SM",
        ncv=min(n_cells, max(7, int(np.sqrt(n_cells)))),
        tol=1e-4,
        maxiter=5 * n_cells,
        v0=rng.standard_normal(n_cells),
    )
    start = vectors[:, np.argsort(values)[1:]]
    start = start / (start.std(axis=0) + 1e-12)
    # Groups without an edge to the rest start in one point each, where distances have no gradient.
    return (start + 1e-3 * rng.standard_normal(start.shape)).astype(np.float32)


def _distinct(latent: np.ndarray, seed: int) -> np.ndarray:
    """Move equal rows apart by a hundredth of the spread: pymde drops neighbours among equals."""
    _, first = np.unique(latent, axis=0, return_index=True)
    if len(first) == len(latent):
        return latent
    repeated = np.setdiff1d(np.arange(len(latent)), first)
    noise = np.random.default_rng(seed).standard_normal((len(repeated), latent.shape[1]))
    spread = 1e-2 * (latent.std(axis=0) + 1e-3)
    moved = latent.copy()
    moved[repeated] += (noise * spread).astype(np.float32)
    return moved
