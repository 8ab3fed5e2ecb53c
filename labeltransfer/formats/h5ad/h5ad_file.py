"""Read h5ad files safely and in parts: tables whole, counts only where they are wanted.

Both layouts are read: the current one, and that of before anndata 0.7 (``obs`` as one compound dataset with categories
in ``uns``, sparse matrices with ``h5sparse`` attributes), in which some published atlases still are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.errors import InputError, LabelTransferError
from labeltransfer.formats.h5ad import chunks, frames, layouts, matrices
from labeltransfer.formats.h5ad.frames import AGAIN
from labeltransfer.formats.h5ad.safety import check_structure


@contextmanager
def open_h5ad(path: Path | str) -> Iterator[h5py.File]:
    """Open a file for reading once it has proven harmless.

    Raises
    ------
    InputError
        There is no such file; it is no HDF5, no h5ad, cut off, empty of cells, genes or counts; or it reaches beyond
        itself (see ``safety.check_structure``).
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file. Check the path.")
    if not path.is_file():
        hint = " A zarr store cannot be read yet: save it as h5ad." if (path / ".zattrs").exists() else ""
        raise InputError(f"{path}: this is a folder or device, not an h5ad file.{hint} Choose a file.")
    with open_stored(path, path.name, path.stat().st_size) as file:
        yield file


@contextmanager
def open_stored(source: Path | Any, name: str, n_bytes: int, *, remote: bool = False) -> Iterator[h5py.File]:
    """Open what is at a path, or a file object, as ``open_h5ad`` does.

    Parameters
    ----------
    source
        A path that is there, or an object with ``read``, ``seek`` and ``tell``.
    name, n_bytes
        Its name in messages, and its size.
    remote
        See ``safety.check_structure``.

    Raises
    ------
    InputError
        See ``open_h5ad``.
    """
    file = _open(source, name)
    with file:
        with reading(name, "its structure"), _bytes_of(source) as read_at:
            check_structure(file, name, n_bytes, read_at, remote=remote)
            _check_contents(file, name)
        yield file


@contextmanager
def _bytes_of(source: Path | Any) -> Iterator[Callable[[int, int], bytes]]:
    """Give a function that returns so many bytes of a file from a place on, as they are stored."""
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as stream:

        def read_at(place: int, n_bytes: int) -> bytes:
            stream.seek(place)
            return stream.read(n_bytes)

        yield read_at


def check_every_chunk(file: h5py.File) -> None:
    """Look at all that is stored in a file from ``open_h5ad``, before another library reads it whole.

    Raises
    ------
    InputError
        A part of it unpacks to more than it declares.
    """

    def check(where: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            chunks.check_all(item.id, where, _name(file))

    with reading(_name(file), "the whole file"):
        file.visititems(check)


def has_former_layout(file: h5py.File) -> bool:
    """Whether the file is in the layout of before anndata 0.7, in which a table is one compound dataset."""
    return isinstance(file["obs"], h5py.Dataset)


def read_obs(file: h5py.File) -> pd.DataFrame:
    """Read the table of cells, (n_cells, n_columns), with cell names as index."""
    return _read_table(file, "obs")


def read_var(file: h5py.File, counts: str = "X") -> pd.DataFrame:
    """Read the table of genes that belongs to a place of counts, (n_genes, n_columns), with gene names as index."""
    names = [n for n in ("raw/var", "raw.var") if n in file] if counts == "raw" else []
    return _read_table(file, names[0] if names else "var")


def count_places(file: h5py.File) -> list[str]:
    """Places that hold a matrix of cells by genes: among "X", "raw" and "layers/NAME"."""
    layers = file.get("layers")
    candidates = ["X", "raw", *(f"layers/{n}" for n in layers)] if isinstance(layers, h5py.Group) else ["X", "raw"]
    return [place for place in candidates if layouts.find_matrix(file, place) is not None]


def counts_shape(file: h5py.File, place: str) -> tuple[int, int]:
    """Shape (n_cells, n_genes) of the matrix at a place.

    Raises
    ------
    InputError
        There is nothing.
    """
    return layouts.matrix_shape(matrix_at(file, place))


def read_rows(file: h5py.File, place: str, rows: np.ndarray | None = None) -> sp.csr_matrix:
    """Read rows of the matrix at a place.

    A matrix stored by row or dense is read in slices, so that the cost is that of the wanted rows; one stored by column
    is passed over once. Memory besides the result stays bounded either way.

    Parameters
    ----------
    file
        From ``open_h5ad``.
    place
        "X", "raw" or "layers/NAME".
    rows
        Row numbers in any order; None for all.

    Returns
    -------
    Matrix of shape (len(rows), n_genes), float32.

    Raises
    ------
    InputError
        There is nothing, or the matrix is damaged.
    """
    item = matrix_at(file, place)
    with reading(_name(file), f"the matrix {place}"):
        return matrices.matrix_rows(item, rows)


def row_lengths(file: h5py.File, place: str, rows: np.ndarray) -> np.ndarray | None:
    """Values that reading each row costs, shape (len(rows),); None where ``read_columns`` is the way to read them."""
    item = matrix_at(file, place)
    with reading(_name(file), f"the matrix {place}"):
        return matrices.row_lengths(item, rows)


def read_columns(file: h5py.File, place: str, rows: np.ndarray) -> Iterator[sp.csc_matrix]:
    """Pass over counts that lie by column: the wanted rows, ascending, of some columns at a time, in order."""
    parts = matrices.matrix_columns(matrix_at(file, place), rows)
    while True:
        with reading(_name(file), f"the matrix {place}"):
            part = next(parts, None)
        if part is None:
            return
        yield part


def read_sample(file: h5py.File, place: str, rows: np.ndarray) -> tuple[sp.csr_matrix, float]:
    """Read rows for a first look; of large counts stored by column only some genes (see ``matrices.sampled_rows``)."""
    item = matrix_at(file, place)
    with reading(_name(file), f"the matrix {place}"):
        return matrices.sampled_rows(item, rows)


def read_values(file: h5py.File, place: str) -> np.ndarray:
    """Read some stored values of a matrix, from all over it, as float64: enough to say what kind they are."""
    item = matrix_at(file, place)
    with reading(_name(file), f"the matrix {place}"):
        return matrices.some_values(item)


def _open(source: Path | Any, name: str) -> h5py.File:
    try:
        return h5py.File(source, "r", locking="best-effort")
    except PermissionError as error:
        raise InputError(f"{name}: this file may not be read. Ask its owner for the right to.") from error
    except OSError as error:
        text = str(error).lower()
        if "truncated" in text or "eof" in text:
            raise InputError(f"{name}: the file is cut off. Download or copy it again.") from error
        if "lock" in text:
            raise InputError(f"{name}: another program is writing it. Try again when it is done.") from error
        raise InputError(f"{name}: this is no h5ad (HDF5) file, or it is damaged. {AGAIN}") from error


def _check_contents(file: h5py.File, name: str) -> None:
    missing = [n for n in ("obs", "var") if n not in file]
    if missing:
        raise InputError(f"{name}: it has no {' and no '.join(missing)}, so it is no h5ad file. {AGAIN}")
    places = count_places(file)
    if not places:
        raise InputError(f"{name}: there is no count matrix in X, layers or raw. Save the file with its raw counts.")
    n_cells, n_genes = counts_shape(file, places[0])
    if not n_cells or not n_genes:
        raise InputError(f"{name}: it has {n_cells} cells and {n_genes} genes. Choose a file that has both.")


@contextmanager
def reading(name: str, what: str) -> Iterator[None]:
    """Turn what the HDF5 library raises over damaged files into a sentence."""
    try:
        yield
    except LabelTransferError:
        raise
    except MemoryError as error:
        raise InputError(f"{name}: {what} does not fit into memory. Choose fewer cells.") from error
    except Exception as error:  # h5py and anndata raise nearly every kind, depending on which byte is wrong
        raise InputError(f"{name}: {what} cannot be read ({type(error).__name__}). {AGAIN}") from error


def _name(file: h5py.File) -> str:
    return Path(file.filename).name


def matrix_at(file: h5py.File, place: str) -> h5py.Group | h5py.Dataset:
    """The stored matrix at a place; raises InputError where there is none."""
    item = layouts.find_matrix(file, place)
    if item is None:
        there = ", ".join(count_places(file))
        raise InputError(f"{_name(file)}: there are no counts in {place}. Choose one of: {there}.")
    return item


def _read_table(file: h5py.File, where: str) -> pd.DataFrame:
    with reading(_name(file), f"the table {where}"):
        return frames.read_frame(file, where, _name(file))
