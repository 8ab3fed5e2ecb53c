"""Sparse matrices that are larger than what memory should hold: turned from rows to columns or back by way of files."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import scipy.sparse as sp

SCALE = 1e4
"""Counts per cell that expression is scaled to before the logarithm."""

MAX_VALUES = 8_000_000
"""Stored values in one slice: 64 MB as float32 with int32 indices."""


def log_normalised(counts: sp.csr_matrix, n_counts: np.ndarray) -> sp.csr_matrix:
    """``log1p(counts / n_counts * 10,000)``, CSR of shape (n_cells, n_genes), float32, by counts of each cell."""
    factor = (SCALE / np.maximum(n_counts, 1)).astype(np.float32)
    values = np.log1p(counts.data * np.repeat(factor, np.diff(counts.indptr))).astype(np.float32)
    return sp.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)


@dataclass
class Turner:
    """Takes a matrix in pieces along one axis and gives it back in slices along the other.

    What it takes and gives is compressed along the wanted axis, here called the lines (CSR): each piece holds some of
    the places of every line, each slice all places of some lines. In between the values lie in a file, each in the
    narrowest type that holds it exactly.

    Parameters
    ----------
    file
        Where the values lie meanwhile; the caller removes it.
    n_lines
        Length of the wanted axis.
    """

    file: Path
    n_lines: int
    n_places: int = 0
    """Length of the other axis so far."""
    _pieces: "list[_Piece]" = field(default_factory=list)

    @property
    def n_values(self) -> int:
        """Stored values so far."""
        return sum(int(piece.indptr[-1]) for piece in self._pieces)

    def add(self, piece: sp.csr_matrix) -> None:
        """Take the next piece, CSR of shape (n_lines, n_places_of_piece)."""
        values, places = _narrow(piece.data), piece.indices.astype(np.min_scalar_type(max(1, piece.shape[1] - 1)))
        with self.file.open("ab") as file:
            begin = file.tell()
            file.write(values.data)
            file.write(places.data)
        self._pieces.append(
            _Piece(self.n_places, piece.shape[1], piece.indptr.astype(np.int32), values.dtype, places.dtype, begin)
        )
        self.n_places += piece.shape[1]

    def pieces(self) -> Iterator[tuple[int, sp.csr_matrix]]:
        """Each piece as it was taken, float32, with the number of its first place."""
        for piece in self._pieces:
            values, places = piece.read(self.file, 0, self.n_lines)
            stored = values.astype(np.float32), places.astype(np.int32), piece.indptr
            yield piece.first, sp.csr_matrix(stored, shape=(self.n_lines, piece.n_places))

    def slices(self) -> Iterator[tuple[int, sp.csr_matrix]]:
        """Lines of the whole matrix, CSR float32 of at most ``MAX_VALUES`` values or one line, each with its number."""
        before = np.zeros(self.n_lines + 1, np.int64)
        for piece in self._pieces:
            before += piece.indptr
        for first, stop in cut(before):
            yield first, self._lines(first, stop)

    def _lines(self, first: int, stop: int) -> sp.csr_matrix:
        lengths = [np.diff(piece.indptr[first : stop + 1]) for piece in self._pieces]
        indptr = np.concatenate([[0], np.cumsum(np.sum(lengths, axis=0, dtype=np.int64))])
        data, indices = np.empty(indptr[-1], np.float32), np.empty(indptr[-1], np.int32)
        begins = indptr[:-1].copy()  # of each line, where the next piece's share of it goes
        for piece, length in zip(self._pieces, lengths, strict=True):
            values, places = piece.read(self.file, first, stop)
            shift = begins - (np.cumsum(length, dtype=np.int64) - length)
            target = np.arange(len(values)) + np.repeat(shift, length)
            data[target] = values
            indices[target] = places.astype(np.int32) + piece.first
            begins += length
        return sp.csr_matrix((data, indices, indptr), shape=(stop - first, self.n_places))


@dataclass(frozen=True)
class _Piece:
    """Where one piece lies in the file: ``indptr`` by line, then the types and the byte at which its values begin."""

    first: int
    n_places: int
    indptr: np.ndarray
    value_type: np.dtype
    place_type: np.dtype
    begin: int

    def read(self, file: Path, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Values and places of lines first to stop-1."""
        start, count = int(self.indptr[first]), int(self.indptr[stop] - self.indptr[first])
        places_begin = self.begin + int(self.indptr[-1]) * self.value_type.itemsize
        at = (self.begin + start * self.value_type.itemsize, places_begin + start * self.place_type.itemsize)
        return (
            np.fromfile(file, self.value_type, count, offset=at[0]),
            np.fromfile(file, self.place_type, count, offset=at[1]),
        )


def cut(before: np.ndarray, most: int | None = None) -> Iterator[tuple[int, int]]:
    """Cut lines into runs (first, stop) of at most ``most`` values, or of one line.

    ``before`` are the values before each line, shape (n_lines + 1,), from 0; ``most`` is ``MAX_VALUES`` unless given.
    """
    first, n_lines = 0, len(before) - 1
    while first < n_lines:
        stop = int(np.searchsorted(before, before[first] + (most or MAX_VALUES), side="right")) - 1
        stop = min(max(stop, first + 1), n_lines)
        yield first, stop
        first = stop


def _narrow(values: np.ndarray) -> np.ndarray:
    """The same values in the smallest type of whole numbers; as they are where that would change them."""
    if len(values) and values.min() >= 0 and values.max() < 2**32:  # false for NaN as well
        narrow = values.astype(np.min_scalar_type(int(values.max())))
        if np.array_equal(narrow, values):
            return narrow
    return values


class SparseWriter:
    """Writes a sparse matrix into an open h5ad file, some lines at a time, as anndata lays it out.

    Parameters
    ----------
    file
        From ``h5ad.new_h5ad``.
    place
        Such as "layers/counts".
    layout
        "csr" where lines are rows (cells), "csc" where they are columns (genes).
    shape
        Of the whole matrix, (n_cells, n_genes).
    n_values
        Stored values of the whole matrix.
    """

    def __init__(
        self, file: h5py.File, place: str, *, layout: Literal["csr", "csc"], shape: tuple[int, int], n_values: int
    ) -> None:
        self._group = file.require_group(place)
        self._group.attrs.update({"encoding-type": f"{layout}_matrix", "encoding-version": "0.1.0"})
        self._group.attrs["shape"] = np.array(shape)
        for name, kind in (("data", np.float32), ("indices", np.int32)):
            self._group.create_dataset(name, (n_values,), kind, chunks=True, compression="lzf")
        self._ends = [np.zeros(1, np.int64)]

    def append(self, lines: sp.csr_matrix) -> None:
        """Write the next lines, CSR along the layout's axis."""
        begin = int(self._ends[-1][-1])
        stop = begin + lines.nnz
        self._group["data"][begin:stop] = lines.data
        self._group["indices"][begin:stop] = lines.indices
        self._ends.append(begin + lines.indptr[1:].astype(np.int64))

    def finish(self) -> None:
        """Write the index of the lines; raises ValueError where values are missing."""
        indptr = np.concatenate(self._ends)
        n_values = self._group["data"].shape[0]
        if indptr[-1] != n_values:
            raise ValueError(f"{indptr[-1]} of {n_values} values were written")
        small = n_values < 2**31
        self._group.create_dataset("indptr", data=indptr.astype(np.int32 if small else np.int64), compression="lzf")
