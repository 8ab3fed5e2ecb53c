"""The h5ad form, as the registry has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.formats.contract import OpenInput, Reader
from labeltransfer.formats.h5ad import h5ad_file


class H5adInput(OpenInput):
    """An h5ad file that :func:`.h5ad_file.open_h5ad` or :func:`.h5ad_file.open_stored` has opened."""

    def __init__(self, file: h5py.File) -> None:
        self.file = file

    def obs(self) -> pd.DataFrame:
        return h5ad_file.read_obs(self.file)

    def var(self, place: str) -> pd.DataFrame:
        return h5ad_file.read_var(self.file, place)

    def places(self) -> list[str]:
        return h5ad_file.count_places(self.file)

    def shape(self, place: str) -> tuple[int, int]:
        return h5ad_file.counts_shape(self.file, place)

    def rows(self, place: str, rows: np.ndarray | None = None) -> sp.csr_matrix:
        return h5ad_file.read_rows(self.file, place, rows)

    def row_lengths(self, place: str, rows: np.ndarray) -> np.ndarray | None:
        return h5ad_file.row_lengths(self.file, place, rows)

    def columns(self, place: str, rows: np.ndarray) -> Iterator[sp.csc_matrix]:
        return h5ad_file.read_columns(self.file, place, rows)

    def sample(self, place: str, rows: np.ndarray) -> tuple[sp.csr_matrix, float]:
        return h5ad_file.read_sample(self.file, place, rows)

    def values(self, place: str) -> np.ndarray:
        return h5ad_file.read_values(self.file, place)


class H5adReader(Reader):
    """Files of anndata, in the current layout and in that of before anndata 0.7."""

    title = "h5ad (HDF5)"
    suffixes = (".h5ad",)

    def recognises(self, path: Path) -> bool:
        return path.is_file() and (path.name.lower().endswith(self.suffixes) or h5py.is_hdf5(path))

    @contextmanager
    def open(self, path: Path) -> Iterator[H5adInput]:
        with h5ad_file.open_h5ad(path) as file:
            yield H5adInput(file)
