"""Read ``prepared.h5ad``: its cells, its genes, one gene's expression, or what the models train on.

Layout: ``obs`` one row a cell (``trained_on`` marks those that models are trained on; the others are only labelled;
``n_counts_chosen`` are counts in the chosen genes, and no model is trained on a cell with 0 of them), ``var`` one row a
shared gene, no ``X``, and ``layers["counts"]`` by column (CSC), so that one gene, or the chosen ones, can be read
without the rest.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.errors import SettingsError
from labeltransfer.params import Side
from labeltransfer.storage import files, sparse
from labeltransfer.storage.sparse import SCALE

COUNTS = "layers/counts"
N_BLOCK = 256
"""Genes read at a time, at most."""


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; what cannot be read in it raises RunError."""
    with files.reading(path), h5py.File(path) as file:
        yield file


def read_cells(path: Path) -> pd.DataFrame:
    """Table of cells, shape (n_cells, n_columns), indexed by unique cell name."""
    with _opened(path) as file:
        return ad.io.read_elem(file["obs"])


def read_columns(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Some columns of the table of cells, shape (n_cells, n_names), rows numbered from 0."""
    with _opened(path) as file:
        return pd.DataFrame({name: ad.io.read_elem(file["obs"][name]) for name in names})


def read_genes(path: Path) -> pd.DataFrame:
    """Table of shared genes, shape (n_genes, n_columns), indexed by gene name."""
    with _opened(path) as file:
        return ad.io.read_elem(file["var"])


def expression(path: Path, gene: str) -> np.ndarray:
    """Log-normalised expression of one gene: ``log1p(counts / n_counts * 10,000)``, shape (n_cells,), float32.

    Raises
    ------
    SettingsError
        The gene is not among the shared genes.
    """
    with _opened(path) as file:
        genes = _names(file["var"])
        at = genes.get_indexer(pd.Index([gene]))
        if at[0] < 0:
            raise SettingsError(f"Gene '{gene}' is not among the {len(genes):,} genes that both sides have.")
        counts = _read_columns(file, at).toarray()[:, 0]
        n_counts = file["obs/n_counts"][:]
    return np.log1p(counts / n_counts * SCALE).astype(np.float32)


def chosen_expression(path: Path, rows: np.ndarray) -> tuple[sp.csr_matrix, pd.Index]:
    """Log-normalised expression of the chosen genes in some cells, CSR float32 of shape (n_rows, n_chosen), and genes.

    Values as :func:`expression` gives them; ``rows`` are ascending. In memory are those cells and a block of genes.
    """
    with _opened(path) as file:
        genes = ad.io.read_elem(file["var"])
        chosen = np.flatnonzero(genes["highly_variable"].to_numpy())
        n_counts = file["obs/n_counts"][:]
        place = np.full(len(n_counts), -1, np.int32)  # of each cell among ``rows``
        place[rows] = np.arange(len(rows))
        parts = []
        for _, part in _column_parts(file, chosen):
            own = place[part.indices]
            gene = np.repeat(np.arange(part.shape[1]), np.diff(part.indptr))
            kept = own >= 0
            stored = part.data[kept], (own[kept], gene[kept])
            parts.append(sp.coo_matrix(stored, shape=(len(rows), part.shape[1])))
    counts = sp.hstack(parts, format="csr", dtype=np.float32)
    scale = np.repeat(SCALE / n_counts[rows], np.diff(counts.indptr))
    counts.data = np.log1p(counts.data * scale).astype(np.float32)
    return counts, genes.index[chosen]


def training_data(path: Path, *, side: Side | None = None) -> ad.AnnData:
    """Cells trained on by chosen genes, in the file's order, with ``layers["counts"]`` as CSR float32 and no ``X``.

    Those of one side alone where it is named.
    """
    with _opened(path) as file:
        obs, var = ad.io.read_elem(file["obs"]), ad.io.read_elem(file["var"])
        chosen = np.flatnonzero(var["highly_variable"].to_numpy())
        trained = obs["trained_on"].to_numpy() if "trained_on" in obs else np.ones(len(obs), bool)
        if side is not None:
            trained &= (obs["side"] == side).to_numpy()
        counts = _read_cells(file, chosen, trained)
    obs = obs[trained].copy()
    # A label that only cells without a count have would become a class of the models.
    obs["training_label"] = obs["training_label"].cat.remove_unused_categories()
    return ad.AnnData(obs=obs, var=var.iloc[chosen].copy(), layers={"counts": counts})


def all_counts(path: Path) -> tuple[sp.csr_matrix, pd.Series]:
    """Counts of every cell over the chosen genes, CSR float32, and each cell's batch, indexed by unique cell name.

    A million cells take some 3 GB.
    """
    with _opened(path) as file:
        batches = pd.Series(ad.io.read_elem(file["obs/batch"]), index=_names(file["obs"]))
        chosen = np.flatnonzero(ad.io.read_elem(file["var"])["highly_variable"].to_numpy())
        return _read_cells(file, chosen, np.ones(len(batches), bool)), batches


def gene_counts(path: Path, columns: np.ndarray) -> sp.csc_matrix:
    """Counts of some genes, by ascending place, in every cell: CSC float32 of shape (n_cells, n_columns)."""
    with _opened(path) as file:
        return _read_columns(file, columns)


def n_untrained(path: Path) -> int:
    """How many cells are labelled without being trained on."""
    with _opened(path) as file:
        return int((~file["obs/trained_on"][:]).sum()) if "trained_on" in file["obs"] else 0


def trained_rows(path: Path) -> np.ndarray:
    """Rows of the cells that the models are trained on, shape (n_trained,), ascending."""
    with _opened(path) as file:
        obs = file["obs"]
        if "trained_on" in obs:
            return np.flatnonzero(obs["trained_on"][:])
        return np.arange(len(_names(obs)))


def _names(table: Any) -> pd.Index:
    """Index of a stored data frame, without its columns."""
    return pd.Index(ad.io.read_elem(table[table.attrs["_index"]]))


def _read_columns(file: h5py.File, columns: np.ndarray) -> sp.csc_matrix:
    """Counts of some genes, shape (n_cells, n_columns); ``columns`` are ascending."""
    parts = [part for _, part in _column_parts(file, columns)]
    return sp.hstack(parts, format="csc", dtype=np.float32)


def _read_cells(file: h5py.File, columns: np.ndarray, wanted: np.ndarray) -> sp.csr_matrix:
    """Counts of some genes, ascending, in some cells, a mask of shape (n_cells,): CSR, allocated once.

    The file is passed over twice: for the lengths of the rows, then for their values.
    """
    position = np.cumsum(wanted) - 1
    lengths = np.zeros(int(wanted.sum()) + 1, np.int64)
    for _, part in _column_parts(file, columns, values=False):
        own = position[part.indices[wanted[part.indices]]]
        lengths[1:] += np.bincount(own, minlength=len(lengths) - 1)
    indptr = np.cumsum(lengths)
    data, indices = np.empty(indptr[-1], np.float32), np.empty(indptr[-1], np.int32)
    begins = indptr[:-1].copy()  # of each row, where its next value goes
    for first, part in _column_parts(file, columns):
        rows = (part if wanted.all() else part[wanted]).tocsr()
        widths = np.diff(rows.indptr)
        target = np.arange(rows.nnz) + np.repeat(begins - rows.indptr[:-1], widths)
        data[target], indices[target] = rows.data, rows.indices + first
        begins += widths
    return sp.csr_matrix((data, indices, indptr), shape=(len(lengths) - 1, len(columns)))


def _column_parts(file: h5py.File, columns: np.ndarray, *, values: bool = True) -> Iterator[tuple[int, sp.csc_matrix]]:
    """Counts of some genes, a block of the file at a time, each with its place among ``columns``.

    Of each block, what lies between its first and its last wanted column is read at once: many small reads would unpack
    the same compressed chunks again and again. A block is ``N_BLOCK`` genes or, where those hold more than
    ``MAX_VALUES`` values, fewer. Without ``values`` every count is 1.
    """
    group = file[COUNTS]
    n_cells = int(group.attrs["shape"][0])
    indptr = group["indptr"][:].astype(np.int64)
    first_of, n_before = np.array([first for first, _ in _blocks(indptr)]), 0
    which = np.searchsorted(first_of, columns, side="right")
    for wanted in np.split(columns, np.flatnonzero(np.diff(which)) + 1):
        first, last = wanted[0], wanted[-1] + 1
        span = slice(indptr[first], indptr[last])
        cells = group["indices"][span]
        counts = group["data"][span] if values else np.ones(len(cells), np.float32)
        stored = counts, cells, indptr[first : last + 1] - indptr[first]
        part = sp.csc_matrix(stored, shape=(n_cells, last - first))
        yield n_before, part if len(wanted) == last - first else part[:, wanted - first]
        n_before += len(wanted)


def _blocks(indptr: np.ndarray) -> Iterator[tuple[int, int]]:
    for first, stop in sparse.chunk_bounds(indptr):
        for begin in range(first, stop, N_BLOCK):
            yield begin, min(begin + N_BLOCK, stop)
