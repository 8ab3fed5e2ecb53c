"""A map of a latent in two dimensions."""

import warnings

import numpy as np
import pandas as pd

from labeltransfer.errors import RunError, SettingsError
from labeltransfer.strata import stratified

MIN_CELLS = 10
"""Fewer cells give a drawing of nothing."""

MOST_EMBEDDED = 50_000
"""Cells that are laid out together; of more, a sample, among which the others are placed."""

LEAST_OF_STRATUM = 100
"""Cells of each stratum in that sample, where it has as many and all strata together leave half of the sample free."""


def mde(
    latent: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    n_neighbors: int = 15,
    repulsive_fraction: float = 0.7,
    seed: int = 0,
) -> np.ndarray:
    """Minimum-distortion embedding that keeps neighbours close and pushes other pairs apart.

    Same settings as the function that scvi-tools once had (``scvi.model.utils.mde``), with a seed. Of more than
    ``MOST_EMBEDDED`` cells a stratified sample is laid out, and each of the others is placed among those of the sample
    that are nearest to it in the latent: it moves towards them and pushes nothing apart.

    Parameters
    ----------
    latent
        Array of shape (n_cells, n_latent).
    strata
        Stratum of each cell, array of shape (n_cells,) of numbers or text, of which the sample keeps rare ones. Without
        it, the sample is drawn from all cells alike.
    n_neighbors
        Nearest cells that the map tries to keep close; reduced, with a warning, where there are too few cells.
    repulsive_fraction
        Pairs pushed apart per pair kept close.
    seed
        Seed of the sample, the start, torch and pymde; the last two are process-wide.

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
    if strata is not None and np.shape(strata) != (n_cells,):
        raise ValueError(f"{n_cells} cells, but strata of shape {np.shape(strata)}")
    if n_neighbors >= n_cells:
        warnings.warn(
            f"{n_neighbors} neighbours were asked for, and each cell has {n_cells - 1} others: the map uses those.",
            stacklevel=2,
        )
        n_neighbors = n_cells - 1

    # These import torch and pymde, which takes seconds: only the worker does so.
    from labeltransfer.results.maps.layout import lay_out
    from labeltransfer.results.maps.placement import place

    def laid_out(rows: np.ndarray) -> np.ndarray:
        return lay_out(_distinct(rows, seed), n_neighbors=n_neighbors, repulsive_fraction=repulsive_fraction, seed=seed)

    if n_embedded(n_cells) == n_cells:
        return laid_out(latent)
    chosen = sample_rows(np.zeros(n_cells) if strata is None else strata, n_embedded(n_cells), seed=seed)
    return _standardised(place(latent, chosen, laid_out(latent[chosen]), n_neighbors=n_neighbors, seed=seed))


def n_embedded(n_cells: int) -> int:
    """How many of a map's cells are laid out; the others are placed among them."""
    return min(n_cells, MOST_EMBEDDED)


def sample_rows(strata: np.ndarray, n_rows: int, *, seed: int = 0) -> np.ndarray:
    """Rows of a stratified sample, array of shape (n_rows,), ascending.

    Every stratum gives ``LEAST_OF_STRATUM`` cells, or all that it has, and the rest goes by size. The floor gives way
    where the strata are so many that it would take more than half of the sample; strata of which hardly any could give
    two cells are not looked at.

    Parameters
    ----------
    strata
        Stratum of each cell, array of shape (n_cells,), n_cells at least ``n_rows``.
    """
    if pd.unique(strata).size > n_rows // 2:
        strata = np.zeros(len(strata))
    return np.sort(stratified(strata, n_rows, np.random.default_rng(seed), least=LEAST_OF_STRATUM))


def _standardised(points: np.ndarray) -> np.ndarray:
    """The nearest map with zero mean, unit variance and no correlation between the axes."""
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    return (centred @ (axes / np.sqrt(variances)) @ axes.T).astype(np.float32)


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
