"""Where the values of a matrix are inside its file, and so how many bytes reading some cells takes."""

import math
from dataclasses import dataclass

import h5py
import numpy as np

from labeltransfer.formats.h5ad.layouts import layout_of
from labeltransfer.formats.h5ad.matrices import merge_runs, offsets
from labeltransfer.storage.download import SourceError
from labeltransfer.storage.ranges import BlockCache

GAP = 512 * 2**10
"""Bytes between two wanted rows that are read along.

Without them another span begins, with two round trips (a node of the index, then the values), 20 to 200 ms in all. A
connection of 5 to 25 MB/s brings half a megabyte in that time.
"""


_NODE = 32
"""Chunks that a node of an array's index names, mostly."""
_HEADERS = 16 * BlockCache.SIZE
"""About what walking a file's headers takes."""


@dataclass(frozen=True)
class StoredArray:
    """How an array is stored in the file: its name, its length, rows in a chunk, and bytes of a row."""

    name: str
    n: int
    chunk: int
    row_bytes: float


@dataclass(frozen=True)
class ReadCost:
    """What reading cells of a matrix takes.

    ``arrays`` are those that are read for a cell, ``values`` how many values one step of the offsets means (1
    where sparse, a whole cell where dense), ``max_gap`` the unwanted values between two cells that are read along, and
    ``fixed`` the bytes that any choice takes.
    """

    arrays: tuple[StoredArray, ...]
    values: int
    max_gap: int
    fixed: int


def layout_cost(item: h5py.Group | h5py.Dataset, shape: tuple[int, int]) -> tuple[ReadCost, np.ndarray]:
    """Look up how a matrix of ``shape`` (n_cells, n_genes) is stored.

    Returns
    -------
    Cost of its cells, and where each cell begins in its arrays, shape (n_cells + 1,).

    Raises
    ------
    SourceError
        It is stored by gene, so that the values of a cell are all over it.
    """
    layout, (n_cells, n_genes) = layout_of(item), shape
    if layout == "csc":
        raise SourceError(
            "Its counts are stored by gene (CSC), so that a cell is all over the file: download the whole file."
        )
    if layout == "csr":
        arrays = (_array(item["indices"]), _array(item["data"]))
        fixed = _HEADERS + item["indptr"].dtype.itemsize * (n_cells + 1)
        return ReadCost(arrays, 1, int(GAP / arrays[1].row_bytes), fixed), offsets(item, n_cells)
    array = _array(item)
    return ReadCost((array,), n_genes, int(GAP / array.row_bytes * n_genes), _HEADERS), np.arange(n_cells + 1)


def needed_bytes(cost: ReadCost, offsets: np.ndarray, rows: np.ndarray) -> int:
    """About how many bytes reading some cells takes.

    Parameters
    ----------
    cost, offsets
        From ``layout_cost``.
    rows
        Row numbers, ascending.
    """
    if not len(rows):
        return 0
    starts, ends = offsets[rows], offsets[rows + 1]
    runs = np.array(list(merge_runs(starts, ends, cost.max_gap // cost.values)))
    begins, stops = starts[runs[:, 0]], ends[runs[:, 1] - 1]
    total = cost.fixed
    for array in cost.arrays:
        n_nodes = array.n // array.chunk // _NODE + 1
        # Each span ends in the middle of a block, and a node of the array's index comes with it.
        total += int(span_bytes(array, begins, stops).sum()) + (len(runs) + min(len(runs), n_nodes)) * BlockCache.SIZE
    return total


def span_bytes(array: StoredArray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Contiguous bytes that hold the rows start..stop-1 of an array: whole chunks, as far as they are filled."""
    first, last = start // array.chunk * array.chunk, -(-stop // array.chunk) * array.chunk
    return np.ceil((np.minimum(last, array.n) - first) * array.row_bytes).astype(np.int64)


def _array(dataset: h5py.Dataset) -> StoredArray:
    name, n, inner = dataset.name.rpartition("/")[2], dataset.shape[0], dataset.shape[1:]
    if dataset.chunks is None:
        return StoredArray(name, n, 1, dataset.dtype.itemsize * math.prod(inner))
    row = math.prod(-(-length // chunk) * chunk for length, chunk in zip(inner, dataset.chunks[1:], strict=True))
    row_bytes = float(dataset.dtype.itemsize * row)
    if dataset.id.get_create_plist().get_nfilters():  # compressed: the first chunk represents all
        n_bytes = dataset.id.chunk_iter(lambda info: info.size)  # it ends at the first chunk
        row_bytes *= (n_bytes or 0) / (math.prod(dataset.chunks) * dataset.dtype.itemsize)
    return StoredArray(name, n, dataset.chunks[0], row_bytes)
