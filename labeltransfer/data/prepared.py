"""Read ``prepared.h5ad``: its cells, its genes, one gene's expression, or what the models train on.

Layout: ``obs`` one row a cell, ``var`` one row a shared gene, no ``X``, and ``layers["counts"]`` by column (CSC), so
that one gene, or the chosen ones, can be read without the rest.
"""

from collections.abc import Sequence
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
N_BLOCK = 256
"""Genes read at a time."""


def read_cells(path: Path) -> pd.DataFrame:
    """Table of cells, shape (n_cells, n_columns), indexed by unique cell name."""
    with h5py.File(path) as file:
        return ad.io.read_elem(file["obs"])


def read_columns(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Some columns of the table of cells, shape (n_cells, n_names), rows numbered from 0."""
    with h5py.File(path) as file:
        return pd.DataFrame({name: ad.io.read_elem(file["obs"][name]) for name in names})


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
        at = genes.get_indexer(pd.Index([gene]))
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
    """Counts of some genes, shape (n_cells, n_columns); ``columns`` are ascending.

    Of each block of the file, what lies between its first and its last wanted column is read at once: many small reads
    would unpack the same compressed chunks again and again.
    """
    group = file[COUNTS]
    n_cells = int(group.attrs["shape"][0])
    indptr = group["indptr"][:].astype(np.int64)
    parts = [sp.csc_matrix((n_cells, 0), dtype=np.float32)]
    for wanted in np.split(columns, np.flatnonzero(np.diff(columns // N_BLOCK)) + 1):
        first, last = wanted[0], wanted[-1] + 1
        span = slice(indptr[first], indptr[last])
        stored = group["data"][span], group["indices"][span], indptr[first : last + 1] - indptr[first]
        parts.append(sp.csc_matrix(stored, shape=(n_cells, last - first))[:, wanted - first])
    return sp.hstack(parts, format="csc", dtype=np.float32)
