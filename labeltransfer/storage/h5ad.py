"""Write an AnnData so that a full disk is an error and not the end of the process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata as ad
import h5py


class _DeferredErrors:
    """A file that accepts writes when the disk is full, and raises the disk's error afterwards.

    The HDF5 library cannot close a file whose last writes fail: it takes the whole process down.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        return self._try(lambda: self._write_all(data), len(data))

    def truncate(self, size: int) -> int:
        return self._try(lambda: self._file.truncate(size), size)

    def flush(self) -> None:
        self._try(self._file.flush, None)

    def check(self) -> None:
        """Raise the disk's error, if it has refused anything."""
        if self.error is not None:
            raise self.error

    def _try(self, action: Any, otherwise: Any) -> Any:
        try:
            return action() if self.error is None else otherwise
        except OSError as error:
            self.error = error
            return otherwise

    def _write_all(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        while rest:  # one write may write a part only
            rest = rest[self._file.write(rest) :]
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def new_h5ad(path: Path) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """A new file to write to, and a function that raises between large writes if the disk is full.

    Raises
    ------
    OSError
        The disk does not take it; what was written is of no use.
    """
    with path.open("w+b", buffering=0) as raw:
        file = _DeferredErrors(raw)
        try:
            with h5py.File(file, "w") as target:
                yield target, file.check
        finally:
            file.check()  # raised before HDF5's error about a file that lost its writes


def write_anndata(adata: ad.AnnData, target: h5py.File) -> None:
    """Write an AnnData into a new file as it is, compressed lightly."""
    ad.io.write_elem(target, "/", adata, dataset_kwargs={"compression": "lzf"})


def write_h5ad(adata: ad.AnnData, path: Path) -> None:
    """Write an AnnData into a new file.

    Raises
    ------
    OSError
        The disk does not take it; what was written is of no use.
    """
    with new_h5ad(path) as (file, _):
        write_anndata(adata, file)
