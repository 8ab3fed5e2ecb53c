"""What a form of input is to the rest of the app: how it is recognised, and what can be read of it once it is open."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp


class OpenInput(ABC):
    """Cells by genes in a file that is open for reading and was found harmless.

    Counts may be in several *places* of a file, whose names are those of an h5ad file: ``X``, ``raw`` or
    ``layers/NAME``; a form that has one matrix calls it ``X``. What is asked for is read then, and no more than that:
    a file may be larger than the memory. Every method raises ``InputError`` where what it reads is damaged, and says
    the file, the part of it, and the way out.
    """

    @abstractmethod
    def obs(self) -> pd.DataFrame:
        """Table of cells, (n_cells, n_columns), with names of cells as index; columns hold text or numbers."""

    @abstractmethod
    def var(self, place: str) -> pd.DataFrame:
        """Table of the genes of a place, (n_genes, n_columns), with names of genes as index."""

    @abstractmethod
    def places(self) -> list[str]:
        """Places with a matrix of cells by genes, one at least."""

    @abstractmethod
    def shape(self, place: str) -> tuple[int, int]:
        """Shape (n_cells, n_genes) of the matrix at a place, as the file declares it."""

    @abstractmethod
    def rows(self, place: str, rows: np.ndarray | None = None) -> sp.csr_matrix:
        """Counts of some cells, shape (len(rows), n_genes), float32; rows in any order, None for all."""

    @abstractmethod
    def row_lengths(self, place: str, rows: np.ndarray) -> np.ndarray | None:
        """Values that reading each row costs, shape (len(rows),); None where ``columns`` is the way to read them."""

    @abstractmethod
    def columns(self, place: str, rows: np.ndarray) -> Iterator[sp.csc_matrix]:
        """Pass over a matrix stored by gene once: the wanted rows, ascending, of some genes at a time, in order."""

    @abstractmethod
    def sample(self, place: str, rows: np.ndarray) -> tuple[sp.csr_matrix, float]:
        """Some rows for a first look, shape (len(rows), n_genes), and the share of their counts that was read.

        A first look takes seconds, whatever the size of the file; so of a large matrix stored by gene only some genes
        are read, and the share is below 1.
        """

    @abstractmethod
    def values(self, place: str) -> np.ndarray:
        """Some stored values from all over a matrix, float64: enough to say what kind they are."""


class Reader(ABC):
    """One form of input.

    A file can come from anyone. A reader decides from a name and a few bytes whether it is the one for it, and opens it
    only after it has refused what reaches beyond the file or declares more than the file has. It imports what it
    needs beyond h5py, numpy, pandas and scipy inside its methods.
    """

    title: str
    """Name of the form in messages, such as "h5ad (HDF5)"."""
    suffixes: tuple[str, ...]
    """Endings of file names, in lower case and with the dot; lists of files and uploads offer these."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether what is at a path is of this form, by its name or its first bytes; it may be damaged all the same."""

    @abstractmethod
    def open(self, path: Path) -> AbstractContextManager[OpenInput]:
        """Open what is at a path, which exists.

        Raises
        ------
        InputError
            It is damaged, empty of cells, genes or counts, or harmful.
        """
