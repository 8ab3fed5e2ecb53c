"""How an h5ad file stores a count matrix, and where: in the current layout or the one before anndata 0.7."""

from typing import Literal

import h5py
import numpy as np

from labeltransfer.errors import InputError

Layout = Literal["csr", "csc", "dense"]

_PARTS = {"data": "biuf", "indices": "iu", "indptr": "iu"}
"""Parts of a sparse matrix, with the kinds of number that each may hold."""


def find_matrix(file: h5py.File, place: str) -> h5py.Group | h5py.Dataset | None:
    """Find the stored matrix at a place ("X", "raw" or "layers/NAME"); None where there is none."""
    # Before anndata 0.7, raw was stored in "raw.X" and "raw.var" next to X.
    names = ("raw/X", "raw.X") if place == "raw" else (place,)
    for name in names:
        item = file.get(name)
        if item is not None and layout_of(item) is not None:
            return item
    return None


def layout_of(item: h5py.Group | h5py.Dataset) -> Layout | None:
    """How a matrix is stored; None for anything that is no matrix of numbers."""
    if isinstance(item, h5py.Dataset):
        return "dense" if len(item.shape or ()) == 2 and item.dtype.kind in "biuf" else None
    if not isinstance(item, h5py.Group):
        return None
    kind = item.attrs.get("encoding-type", item.attrs.get("h5sparse_format", ""))
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if kind[:3] not in ("csr", "csc") or not all(_is_line(item.get(name), kinds) for name, kinds in _PARTS.items()):
        return None
    return "csr" if kind[:3] == "csr" else "csc"


def _is_line(item: object, kinds: str) -> bool:
    """Whether this is a dataset of one dimension that holds numbers of these kinds."""
    return isinstance(item, h5py.Dataset) and len(item.shape or ()) == 1 and item.dtype.kind in kinds


def matrix_shape(item: h5py.Group | h5py.Dataset) -> tuple[int, int]:
    """Shape of a stored matrix, (n_cells, n_genes), as declared."""
    given = item.shape if isinstance(item, h5py.Dataset) else item.attrs.get("shape", item.attrs.get("h5sparse_shape"))
    shape = np.asarray(given)  # an attribute can be anything, and nothing
    if shape.dtype.kind not in "iu" or shape.shape != (2,) or shape.min() < 0:
        raise InputError(f"The matrix {item.name} has no shape: save the file anew with anndata's write_h5ad.")
    return int(shape[0]), int(shape[1])
