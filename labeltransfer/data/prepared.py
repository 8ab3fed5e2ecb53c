"""Read ``prepared.h5ad``: its cells, its genes, one gene's expression, or what the models train on.

Layout: ``obs`` one row a cell, ``var`` one row a shared gene, no ``X``, and ``layers["counts"]`` column by column (CSC),
so that one gene, or the chosen ones, can be read without the rest.
"""

from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.errors import SettingsError

COUNTS = "layers/counts"
SCALE = 1e4
"""Counts per cell that expression is scaled to before the logarithm."""


def read_cells(path: Path) -> pd.DataFrame:
    """Table of cells, shape (n_cells, n_columns), indexed by unique cell name."""
    with h5py.File(path) as file:
        return ad.io.read_elem(file["obs"])


def read_genes(path: Path) -> pd.DataFrame:
    """Table of shared genes, shape (n_genes, n_columns), indexed by gene name."""
    with h5py.File(path) as file:
        return ad.io.read_elem(file["var"])


def expression(path: Path, gene: str) -> np.ndarray:
    """Log-normalised expression of one gene: ``log1p(counts / n_counts * 10,000)``, shape (n_cells,), float32.

    Raises
    ------
    SettingsError
        The gene is not among the shared genes.
    """
    with h5py.File(path) as file:
        genes = _names(file["var"])
        at = genes.get_indexer([gene])
        if at[0] < 0:
            raise SettingsError(f"Gene '{gene}' is not among the {len(genes):,} genes that both sides have.")
        counts = _read_columns(file, at).toarray()[:, 0]
        n_counts = file["obs/n_counts"][:]
    return np.log1p(counts / n_counts * SCALE).astype(np.float32)


def training_data(path: Path) -> ad.AnnData:
    """Cells by chosen genes, in the order of the file, with ``layers["counts"]`` as CSR float32 and no ``X``."""
    with h5py.File(path) as file:
        obs, var = ad.io.read_elem(file["obs"]), ad.io.read_elem(file["var"])
        chosen = np.flatnonzero(var["highly_variable"].to_numpy())
        counts = _read_columns(file, chosen).tocsr()
    return ad.AnnData(obs=obs, var=var.iloc[chosen].copy(), layers={"counts": counts})


def _names(table: Any) -> pd.Index:
    """Index of a stored data frame, without its columns."""
    return pd.Index(ad.io.read_elem(table[table.attrs["_index"]]))


def _read_columns(file: h5py.File, columns: np.ndarray) -> sp.csc_matrix:
    """Counts of some genes, shape (n_cells, n_columns); ``columns`` are ascending, and no other column is read."""
    group = file[COUNTS]
    n_cells = int(group.attrs["shape"][0])
    indptr = group["indptr"][:].astype(np.int64)
    # Neighbouring columns lie one behind the other: each run of them is one read.
    runs = np.split(columns, np.flatnonzero(np.diff(columns) != 1) + 1) if columns.size else []
    spans = [slice(indptr[run[0]], indptr[run[-1] + 1]) for run in runs]
    data = [group["data"][span] for span in spans]
    indices = [group["indices"][span] for span in spans]
    starts = np.concatenate([[0], np.cumsum(indptr[columns + 1] - indptr[columns])])
    matrix = (
        np.concatenate([*data, np.empty(0, np.float32)]),
        np.concatenate([*indices, np.empty(0, np.int32)]),
        starts,
    )
    return sp.csc_matrix(matrix, shape=(n_cells, columns.size), dtype=np.float32)
