"""Read the counts of many cells some cells at a time, whatever the form of the file and however it stores them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from labeltransfer.formats.contract import OpenInput
from labeltransfer.storage import sparse

MAX_CELLS = 65_536
"""Cells in one block, so that the number of a cell in it takes two bytes."""


def count_blocks(opened: OpenInput, place: str, rows: np.ndarray, *, scratch: Path) -> Iterator[sp.csr_matrix]:
    """Read rows of the matrix at a place in blocks, with memory for one block.

    A matrix stored by row or dense is read block by block. One stored by column is passed over once, and its values are
    kept in a file in between.

    Parameters
    ----------
    opened
        From ``open_input``.
    place
        One of its places.
    rows
        Row numbers, ascending.
    scratch
        Folder for that file, which is removed again.

    Yields
    ------
    Matrices of shape (n_cells_of_block, n_genes), CSR float32, together the wanted rows in their order.

    Raises
    ------
    InputError
        The matrix is damaged.
    OSError
        The disk does not take the file.
    """
    lengths = opened.row_lengths(place, rows)
    if lengths is not None:
        for first, stop in _cut(lengths):
            yield opened.rows(place, rows[first:stop])
        return
    transpose = sparse.OutOfCoreTranspose(scratch / "by_row", len(rows))
    try:
        for part in opened.columns(place, rows):
            transpose.add(part.tocsr())
        for _, block in transpose.slices():
            for first in range(0, block.shape[0], MAX_CELLS):
                yield block[first : first + MAX_CELLS]
    finally:
        transpose.file.unlink(missing_ok=True)


def _cut(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs (first, stop) of rows that make up a block; ``lengths`` are their stored values."""
    before = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    for first, stop in sparse.chunk_bounds(before):
        for begin in range(first, stop, MAX_CELLS):
            yield begin, min(begin + MAX_CELLS, stop)
