"""Every form that an input can have, and the one place where an unknown form is refused."""

from contextlib import AbstractContextManager
from pathlib import Path

from labeltransfer.errors import InputError
from labeltransfer.formats.contract import OpenInput, Reader
from labeltransfer.formats.h5ad.frames import AGAIN
from labeltransfer.formats.h5ad.reader import H5adReader

READERS: tuple[Reader, ...] = (H5adReader(),)
"""To add a form, write its reader and add it here; the first that recognises a path opens it."""

SUFFIXES: tuple[str, ...] = tuple(suffix for reader in READERS for suffix in reader.suffixes)
"""Endings of the files that can be read."""


def open_input(path: Path | str) -> AbstractContextManager[OpenInput]:
    """Open an input for reading, in whatever form it is.

    Raises
    ------
    InputError
        There is nothing at the path, no reader knows its form, or its reader refuses it.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file. Check the path.")
    return _reader_of(path).open(path)


def _reader_of(path: Path) -> Reader:
    for reader in READERS:
        if reader.recognises(path):
            return reader
    if not path.is_file():
        hint = " A zarr store cannot be read yet: save it as h5ad." if (path / ".zattrs").exists() else ""
        raise InputError(f"{path}: this is a folder or device, not an h5ad file.{hint} Choose a file.")
    forms = " or ".join(reader.title for reader in READERS)
    raise InputError(f"{path.name}: this is no {forms} file, or it is damaged. {AGAIN}")
