"""Read chosen rows of a count matrix out of an open h5ad file, and no more of it than they need.

The matrix may be stored by row (CSR), by column (CSC) or dense, in the current layout or the one before anndata 0.7.
"""

from collections.abc import Callable, Iterable, Iterator

import h5py
import numpy as np
import scipy.sparse as sp

from labeltransfer.errors import InputError
from labeltransfer.formats.h5ad.chunks import check_rows
from labeltransfer.formats.h5ad.layouts import layout_of, matrix_shape
from labeltransfer.storage import sparse

MAX_VALUES = 4_000_000
"""Values in one read; bounds the memory besides the result to some 100 MB."""

MAX_SAMPLED = 8_000_000
"""Values of a matrix stored by column that a sample of its rows may cost."""

MAX_GAP = 20_000
"""Unwanted values between two wanted rows that are read along, which is faster than a second read."""

Ahead = Callable[[h5py.Dataset, int, int], None]
"""Called before each read with the rows start..stop-1 of the stored array that it takes."""


def matrix_rows(
    item: h5py.Group | h5py.Dataset, rows: np.ndarray | None, *, max_gap: int | None = None, ahead: Ahead | None = None
) -> sp.csr_matrix:
    """Read rows of a stored matrix.

    Parameters
    ----------
    item
        What ``find_matrix`` found.
    rows
        Row numbers in any order, each of them possibly more than once; None for all.
    max_gap
        Unwanted values between two rows that are read along; None for ``MAX_GAP``.
    ahead
        Called before each read, of matrices that are stored by row or dense.

    Returns
    -------
    Matrix of shape (len(rows), n_genes), float32, with sorted column indices.

    Raises
    ------
    InputError
        The matrix contradicts itself, such as column numbers beyond its width.
    """
    n_cells, n_genes = matrix_shape(item)
    wanted, back = (np.arange(n_cells), None) if rows is None else np.unique(np.asarray(rows, int), return_inverse=True)
    if len(wanted) and (wanted[0] < 0 or wanted[-1] >= n_cells):
        raise IndexError(f"rows {wanted[0]} to {wanted[-1]} asked of a matrix with {n_cells}")
    layout = layout_of(item)
    if layout == "csr":
        matrix = _rows_of_csr(item, wanted, n_cells, n_genes, max_gap, ahead)
    elif layout == "csc":
        matrix = _rows_of_csc(item, wanted, n_cells, n_genes)
    else:
        matrix = _rows_of_dense(item, wanted, n_genes, max_gap, ahead)
    matrix.sum_duplicates()
    return matrix if back is None or np.array_equal(back, np.arange(len(wanted))) else matrix[back]


def sampled_rows(item: h5py.Group | h5py.Dataset, rows: np.ndarray) -> tuple[sp.csr_matrix, float]:
    """Read rows of a stored matrix for a first look, which costs little however large it is.

    A row of a large matrix stored by column lies all over it. Only some columns of such a one are read; the others stay
    empty.

    Returns
    -------
    Matrix of shape (len(rows), n_genes), as from ``matrix_rows``, and the share of the stored values that were read
    along: 1 where nothing is missing.
    """
    if layout_of(item) != "csc" or len(item["data"]) <= MAX_SAMPLED:
        return matrix_rows(item, rows), 1.0
    n_cells, n_genes = matrix_shape(item)
    indptr = offsets(item, n_genes)
    step = MAX_SAMPLED // 8
    begins = np.linspace(0, indptr[-1] - step, 8).astype(np.int64)
    firsts = np.unique(np.searchsorted(indptr, begins).clip(max=n_genes - 1))
    stops = np.searchsorted(indptr, indptr[firsts] + step, side="right") - 1
    stops = np.minimum(np.maximum(stops, firsts + 1), [*firsts[1:], n_genes])  # one column at least, none twice
    matrix = _rows_of_csc(item, rows, n_cells, n_genes, spans=zip(firsts, stops, strict=True))
    matrix.sum_duplicates()
    return matrix, float((indptr[stops] - indptr[firsts]).sum() / indptr[-1])


def row_lengths(item: h5py.Group | h5py.Dataset, rows: np.ndarray) -> np.ndarray | None:
    """Values that reading each row costs; None where a matrix stored by column is too large to be read whole."""
    n_cells, n_genes = matrix_shape(item)
    layout = layout_of(item)
    if layout == "csr":
        return np.diff(offsets(item, n_cells))[rows]
    if layout == "csc":
        return np.zeros(len(rows), np.int64) if len(item["data"]) <= sparse.MAX_VALUES else None
    return np.full(len(rows), n_genes, np.int64)


def matrix_columns(item: h5py.Group, rows: np.ndarray) -> Iterator[sp.csc_matrix]:
    """Pass over a matrix stored by column once: some rows, ascending, of some columns at a time, in order."""
    n_cells, n_genes = matrix_shape(item)
    for _, part in _columns(item, rows, n_cells, n_genes, None):
        part.sum_duplicates()
        yield part


def some_values(item: h5py.Group | h5py.Dataset, n_reads: int = 10) -> np.ndarray:
    """Some stored values from all over a matrix, float64; zeros are among them only where it is dense."""
    flat = item["data"] if isinstance(item, h5py.Group) else item
    step = MAX_GAP if isinstance(item, h5py.Group) else max(1, MAX_GAP // max(1, flat.shape[1]))
    starts = np.unique(np.linspace(0, max(0, flat.shape[0] - step), n_reads).astype(int))
    for start in starts:
        check_rows(flat, int(start), int(start) + step)
    return np.concatenate([np.asarray(flat[s : s + step], float).ravel() for s in starts])


def merge_runs(starts: np.ndarray, ends: np.ndarray, max_gap: int | None = None) -> Iterator[tuple[int, int]]:
    """Group rows that lie close together in a file into reads.

    Parameters
    ----------
    starts, ends
        Offsets of each wanted row in the file, ascending.
    max_gap
        Unwanted values between two rows that are read along; None for ``MAX_GAP``.

    Yields
    ------
    Pairs (first, stop): rows first..stop-1 come with one read of ``MAX_VALUES`` values at most, or of one row.
    """
    most = MAX_GAP if max_gap is None else max_gap
    breaks = np.flatnonzero(starts[1:] - ends[:-1] > most) + 1
    for first, last in zip([0, *breaks], [*breaks, len(starts)], strict=True):
        while first < last:
            fit = int(np.searchsorted(ends[first:last], starts[first] + MAX_VALUES, side="right"))
            yield int(first), int(first) + max(1, fit)
            first += max(1, fit)


def offsets(group: h5py.Group, n_major: int) -> np.ndarray:
    """``indptr`` of a sparse matrix as int64, checked: scipy would follow a wrong one out of its memory."""
    if group["indptr"].shape != (n_major + 1,) or group["data"].shape != group["indices"].shape:
        raise _contradiction(group)
    check_rows(group["indptr"], 0, n_major + 1)
    indptr = group["indptr"][:].astype(np.int64)
    if indptr[0] != 0 or indptr[-1] != len(group["data"]) or (np.diff(indptr) < 0).any():
        raise _contradiction(group)
    return indptr


def _read_slice(
    group: h5py.Group, start: int, stop: int, n_minor: int, ahead: Ahead | None = None
) -> tuple[np.ndarray, np.ndarray]:
    if ahead is not None:
        ahead(group["indices"], start, stop)
    check_rows(group["indices"], start, stop)
    indices = group["indices"][start:stop]
    if ahead is not None:
        ahead(group["data"], start, stop)
    check_rows(group["data"], start, stop)
    data = group["data"][start:stop]
    if len(indices) and (indices.min() < 0 or indices.max() >= n_minor):
        raise _contradiction(group)
    return indices.astype(np.int32, copy=False), data.astype(np.float32, copy=False)


def _contradiction(group: h5py.Group) -> InputError:
    return InputError(f"The sparse matrix {group.name} contradicts its own shape: get the file again from its source.")


def _rows_of_csr(
    group: h5py.Group, wanted: np.ndarray, n_cells: int, n_genes: int, max_gap: int | None, ahead: Ahead | None
) -> sp.csr_matrix:
    indptr = offsets(group, n_cells)
    starts, ends = indptr[wanted], indptr[wanted + 1]
    target = np.concatenate([[0], np.cumsum(ends - starts)])
    data, indices = np.empty(target[-1], np.float32), np.empty(target[-1], np.int32)
    for first, stop in merge_runs(starts, ends, max_gap):
        offset, into = starts[first], slice(target[first], target[stop])
        columns, values = _read_slice(group, offset, ends[stop - 1], n_genes, ahead)
        if len(values) > into.stop - into.start:  # rows in between were read along
            shift = starts[first:stop] - offset - (target[first:stop] - into.start)
            keep = np.arange(into.stop - into.start) + np.repeat(shift, np.diff(target[first : stop + 1]))
            columns, values = columns[keep], values[keep]
        indices[into], data[into] = columns, values
    return sp.csr_matrix((data, indices, target), shape=(len(wanted), n_genes))


def _rows_of_csc(
    group: h5py.Group,
    wanted: np.ndarray,
    n_cells: int,
    n_genes: int,
    spans: Iterable[tuple[int, int]] | None = None,
) -> sp.csr_matrix:
    """Pass over the whole matrix once, some genes at a time: a row has values everywhere in it.

    ``spans`` are the genes (first, stop) to read at a time, where not all are wanted.
    """
    lengths, parts = np.zeros(n_genes + 1, np.int64), []
    for first, part in _columns(group, wanted, n_cells, n_genes, spans):
        lengths[first + 1 : first + part.shape[1] + 1] = np.diff(part.indptr)
        parts.append((part.data, part.indices))
    data = np.concatenate([p[0] for p in parts] or [np.empty(0, np.float32)])
    indices = np.concatenate([p[1] for p in parts] or [np.empty(0, np.int32)])
    return sp.csc_matrix((data, indices, np.cumsum(lengths)), shape=(len(wanted), n_genes)).tocsr()


def _columns(
    group: h5py.Group, wanted: np.ndarray, n_cells: int, n_genes: int, spans: Iterable[tuple[int, int]] | None
) -> Iterator[tuple[int, sp.csc_matrix]]:
    """Wanted rows of some columns at a time, each with the number of its first column."""
    indptr = offsets(group, n_genes)
    position = np.full(n_cells, -1, np.int32)
    position[wanted] = np.arange(len(wanted))
    for first, stop in merge_runs(indptr[:-1], indptr[1:]) if spans is None else spans:
        offset = indptr[first]
        cells, values = _read_slice(group, offset, indptr[stop], n_cells)
        cells = position[cells]
        keep = cells >= 0
        kept_before = np.concatenate([[0], np.cumsum(keep)])[indptr[first : stop + 1] - offset]
        yield first, sp.csc_matrix((values[keep], cells[keep], kept_before), shape=(len(wanted), stop - first))


def _rows_of_dense(
    dataset: h5py.Dataset, wanted: np.ndarray, n_genes: int, max_gap: int | None, ahead: Ahead | None
) -> sp.csr_matrix:
    parts = [sp.csr_matrix((0, n_genes), dtype=np.float32)]
    for first, stop in merge_runs(wanted * n_genes, (wanted + 1) * n_genes, max_gap):
        if ahead is not None:
            ahead(dataset, int(wanted[first]), int(wanted[stop - 1]) + 1)
        check_rows(dataset, int(wanted[first]), int(wanted[stop - 1]) + 1)
        block = dataset[wanted[first] : wanted[stop - 1] + 1][wanted[first:stop] - wanted[first]]
        parts.append(sp.csr_matrix(block.astype(np.float32)))
    return sp.vstack(parts, format="csr")
