"""Expression of groups of cells, and how well a cell's counts fit one of them."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from labeltransfer.storage.sparse import log_normalised

BLOCK = 50_000
"""Cells whose counts are in memory at a time."""


@dataclass(frozen=True)
class Profiles:
    """Expression of groups of cells: rows are ``names``, columns the chosen genes, arrays (n_groups, n_genes).

    ``mean`` and ``variance`` are of log-normalised counts, ``total`` is the sum of the counts; ``n_cells`` has shape
    (n_groups,).
    """

    names: list[str]
    n_cells: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    total: np.ndarray

    def __post_init__(self) -> None:
        shapes = {self.mean.shape, self.variance.shape, self.total.shape}
        if len(shapes) != 1 or len(self.names) != len(self.mean) != len(self.n_cells):
            raise ValueError(f"{len(self.names)} groups, but arrays of shapes {sorted(shapes)}")

    def at(self, name: str) -> int:
        return self.names.index(name)


def profiles(counts: sp.csr_matrix, n_counts: np.ndarray, codes: np.ndarray, names: list[str]) -> Profiles:
    """Mean, variance and sum of the genes over groups of cells, a block of cells at a time.

    Parameters
    ----------
    counts
        CSR of shape (n_cells, n_genes).
    n_counts
        Counts per cell over all shared genes, shape (n_cells,).
    codes
        Group of each cell, shape (n_cells,), -1 for none.
    names
        Names of the groups.
    """
    n_groups, n_genes = len(names), counts.shape[1]
    first, second, total = (np.zeros((n_groups, n_genes)) for _ in range(3))
    rows = np.flatnonzero(codes >= 0)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        block = counts[part].astype(np.float32)
        member = sp.csr_matrix(
            (np.ones(len(part), np.float32), (codes[part], np.arange(len(part)))), shape=(n_groups, len(part))
        )
        total += (member @ block).toarray()
        block = log_normalised(block, n_counts[part])
        first += (member @ block).toarray()
        block.data **= 2
        second += (member @ block).toarray()
    n_cells = np.bincount(codes[rows], minlength=n_groups)
    each = np.maximum(n_cells, 1)[:, None]
    mean = first / each
    return Profiles(names, n_cells, mean, np.maximum(second / each - mean**2, 0), total)


def log_odds(
    counts: sp.csr_matrix, rows: np.ndarray, own: np.ndarray, other: np.ndarray, query: Profiles
) -> np.ndarray:
    """How much likelier each cell's counts are in another class of the query than in its own, shape (n_rows,), nats.

    Multinomial likelihood by the classes' total counts, smoothed; the reference is not used.
    """
    total = query.total + query.total.sum(axis=0) / max(query.total.sum(), 1) * 100 + 1e-3
    log_share = np.log(total / total.sum(axis=1, keepdims=True))
    found = np.empty(len(rows))
    for start in range(0, len(rows), 2_000):
        part = slice(start, start + 2_000)
        block = counts[rows[part]].multiply(log_share[other[part]] - log_share[own[part]])
        found[part] = np.asarray(block.sum(axis=1)).ravel()
    return found
