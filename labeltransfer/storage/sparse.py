"""Sparse matrices that are larger than memory should hold: transposed through files, and written in pieces."""

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
class OutOfCoreTranspose:
    """Transposes a sparse matrix through a file: takes it in pieces along one axis, gives slices along the other.

    What it takes and gives is compressed along the wanted axis, the major one (CSR): each piece holds all lines of that
    axis and some of the minor one, each slice some lines and all of the minor axis. In between the values are in a
    file, each in the narrowest type that holds it exactly.

    Parameters
    ----------
    file
        Where the values are meanwhile; the caller removes it.
    n_major
        Length of the wanted axis.
    """

    file: Path
    n_major: int
    n_minor: int = 0
    """Length of the other axis so far."""
    _pieces: "list[_Piece]" = field(default_factory=list)

    @property
    def n_values(self) -> int:
        """Stored values so far."""
        return sum(int(piece.indptr[-1]) for piece in self._pieces)

    def add(self, piece: sp.csr_matrix) -> None:
        """Take the next piece, CSR of shape (n_major, n_minor_of_piece)."""
        values, indices = _narrow(piece.data), piece.indices.astype(np.min_scalar_type(max(1, piece.shape[1] - 1)))
        with self.file.open("ab") as file:
            offset = file.tell()
            file.write(values.data)
            file.write(indices.data)
        self._pieces.append(
            _Piece(self.n_minor, piece.shape[1], piece.indptr.astype(np.int32), values.dtype, indices.dtype, offset)
        )
        self.n_minor += piece.shape[1]

    def pieces(self) -> Iterator[tuple[int, sp.csr_matrix]]:
        """Each piece as it was taken, float32, with the first of its numbers along the minor axis."""
        for piece in self._pieces:
            values, indices = piece.read(self.file, 0, self.n_major)
            stored = values.astype(np.float32), indices.astype(np.int32), piece.indptr
            yield piece.first, sp.csr_matrix(stored, shape=(self.n_major, piece.n_minor))

    def slices(self) -> Iterator[tuple[int, sp.csr_matrix]]:
        """Lines of the whole matrix, CSR float32 of at most ``MAX_VALUES`` values or one line, and its number."""
        offsets = np.zeros(self.n_major + 1, np.int64)
        for piece in self._pieces:
            offsets += piece.indptr
        for first, stop in chunk_bounds(offsets):
            yield first, self._lines(first, stop)

    def _lines(self, first: int, stop: int) -> sp.csr_matrix:
        lengths = [np.diff(piece.indptr[first : stop + 1]) for piece in self._pieces]
        indptr = np.concatenate([[0], np.cumsum(np.sum(lengths, axis=0, dtype=np.int64))])
        data, indices = np.empty(indptr[-1], np.float32), np.empty(indptr[-1], np.int32)
        begins = indptr[:-1].copy()  # of each line, where the next piece's share of it goes
        for piece, length in zip(self._pieces, lengths, strict=True):
            values, minor = piece.read(self.file, first, stop)
            shift = begins - (np.cumsum(length, dtype=np.int64) - length)
            target = np.arange(len(values)) + np.repeat(shift, length)
            data[target] = values
            indices[target] = minor.astype(np.int32) + piece.first
            begins += length
        return sp.csr_matrix((data, indices, indptr), shape=(stop - first, self.n_minor))


@dataclass(frozen=True)
class _Piece:
    """Where one piece is in the file: ``indptr`` by line, the types, and the byte offset of its values."""

    first: int
    n_minor: int
    indptr: np.ndarray
    value_type: np.dtype
    index_type: np.dtype
    offset: int

    def read(self, file: Path, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Values and minor indices of lines first to stop-1."""
        start, count = int(self.indptr[first]), int(self.indptr[stop] - self.indptr[first])
        indices_offset = self.offset + int(self.indptr[-1]) * self.value_type.itemsize
        return (
            np.fromfile(file, self.value_type, count, offset=self.offset + start * self.value_type.itemsize),
            np.fromfile(file, self.index_type, count, offset=indices_offset + start * self.index_type.itemsize),
        )


def chunk_bounds(offsets: np.ndarray, most: int | None = None) -> Iterator[tuple[int, int]]:
    """Cut lines into chunks (first, stop) of at most ``most`` values, or of one line.

    ``offsets`` are the values before each line, shape (n_lines + 1,), from 0; ``most`` is ``MAX_VALUES`` unless given.
    """
    first, n_lines = 0, len(offsets) - 1
    while first < n_lines:
        stop = int(np.searchsorted(offsets, offsets[first] + (most or MAX_VALUES), side="right")) - 1
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
        self._offsets = [np.zeros(1, np.int64)]

    def append(self, lines: sp.csr_matrix) -> None:
        """Write the next lines, CSR along the layout's axis."""
        start = int(self._offsets[-1][-1])
        stop = start + lines.nnz
        self._group["data"][start:stop] = lines.data
        self._group["indices"][start:stop] = lines.indices
        self._offsets.append(start + lines.indptr[1:].astype(np.int64))

    def finish(self) -> None:
        """Write the index of the lines; raises ValueError where values are missing."""
        indptr = np.concatenate(self._offsets)
        n_values = self._group["data"].shape[0]
        if indptr[-1] != n_values:
            raise ValueError(f"{indptr[-1]} of {n_values} values were written")
        small = n_values < 2**31
        self._group.create_dataset("indptr", data=indptr.astype(np.int32 if small else np.int64), compression="lzf")
