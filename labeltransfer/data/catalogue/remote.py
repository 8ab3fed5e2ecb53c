"""Read the table of cells, and chosen cells, out of a data set on a server, without downloading the rest of it.

The table is kept as a small file, from which filters can be chosen and the cost of any choice is known beforehand; the
chosen cells become an ordinary h5ad with raw counts in X. Both take their names only when they are complete.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import scipy.sparse as sp

from labeltransfer.data.catalogue.entries import CatalogueEntry
from labeltransfer.data.catalogue.fetch import urls, what_differs
from labeltransfer.data.catalogue.fetch_request import TABLE, cells, target
from labeltransfer.data.catalogue.read_cost import layout_cost, needed_bytes, span_bytes
from labeltransfer.data.catalogue.remote_table import RemoteTable, read_table, write_cells, write_table
from labeltransfer.data.intake import summary
from labeltransfer.data.intake.columns import filter_rows
from labeltransfer.errors import DownloadError, InputError, SettingsError
from labeltransfer.formats.h5ad import h5ad_file
from labeltransfer.formats.h5ad.matrices import matrix_rows
from labeltransfer.formats.h5ad.reader import H5adInput
from labeltransfer.storage import kept
from labeltransfer.storage.download import Progress, RemoteVersion, SourceError, exclusive, is_good, require_space
from labeltransfer.storage.files import atomic_path
from labeltransfer.storage.ranges import RangeFile

_Job = Callable[[RangeFile, h5py.File], None]


def fetch_table(
    entry: CatalogueEntry, *, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None
) -> Path:
    """Read the tables of cells and genes of a data set, and where its cells are, unless that was done.

    Parameters
    ----------
    entry
        The data set.
    progress
        Called with the bytes received and the bytes expected, None where unknown.
    cancelled
        Called at each block; reading stops once it returns True.

    Returns
    -------
    File for ``remote_table.read_table``.

    Raises
    ------
    DownloadError
        No server sends parts of the file, or what they send is another file; the message says what to do.
    DownloadCancelled
        ``cancelled`` returned True.
    """
    path = target(entry, TABLE)

    def keep(remote: RangeFile, file: h5py.File) -> None:
        with atomic_path(path) as part:
            write_table(_read(remote, file, entry), part)

    return _make(entry, path, keep, progress, cancelled, check=_opens_as_table)


def fetch_cells(
    entry: CatalogueEntry,
    filters: Mapping[str, Sequence[str]],
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Path:
    """Read the cells that agree with the filters, unless that was done; reads the table first where there is none.

    Parameters
    ----------
    entry, progress, cancelled
        As for ``fetch_table``.
    filters
        Wanted values by obs column, as for ``columns.filter_rows``.

    Returns
    -------
    An h5ad with the cells in the order of the whole file, all of its obs columns, and raw counts in X.

    Raises
    ------
    DownloadError, DownloadCancelled
        As for ``fetch_table``.
    SettingsError
        The filters do not fit the table, or keep no cell.
    """
    request = cells(filters)
    path, expected = target(entry, request), [0]
    report = progress or (lambda n_done, n_total: None)

    def keep(remote: RangeFile, file: h5py.File) -> None:
        table = _table_of(remote, file, entry)
        rows = np.flatnonzero(filter_rows(table.obs, dict(request.filters)))
        if not len(rows):
            raise SettingsError(f"No cell of {entry.title} passes the filters: widen them.")
        expected[0] = remote.n_received + needed_bytes(table.cost, table.offsets, rows)
        require_space(path, expected[0], 0)
        counts = _counts(remote, file, table, rows)
        source = {
            "url": remote.url,
            "version": remote.validator,
            "n_bytes": remote.size,
            "n_received": remote.n_received,
            "n_cells": len(table.obs),
        }
        with atomic_path(path) as part:
            write_cells(table, rows, counts, source, part)

    return _make(entry, path, keep, lambda n_done, _: report(n_done, expected[0] or None), cancelled, check=_opens)


def _make(
    entry: CatalogueEntry,
    path: Path,
    job: _Job,
    progress: Progress | None,
    cancelled: Callable[[], bool] | None,
    *,
    check: Callable[[Path], None],
) -> Path:
    """Let ``job`` write ``path`` from the first address that gives the file in parts, unless it is there and whole."""
    report, is_cancelled = progress or (lambda n_done, n_total: None), cancelled or (lambda: False)
    faults: list[str] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(path, report, is_cancelled):
            addresses = [] if is_good(path, check=check) else urls(entry)
            for url in addresses:
                try:
                    opened = _opened(url, entry, lambda n_received: report(n_received, None), is_cancelled)
                    with opened as (remote, file):
                        job(remote, file)
                    kept.seal(path)
                    break
                except SourceError as error:
                    faults.append(str(error))
            if len(faults) == len(addresses) > 0:
                raise DownloadError(" ".join(faults))
    except OSError as error:
        raise DownloadError(
            f"{path.name} cannot be written to {path.parent} ({error.strerror or error}): free some space or set "
            "LABELTRANSFER_HOME to another disk, then start again."
        ) from error
    return path


def _opens(path: Path) -> None:
    """Check a file from before notes were kept; raises InputError where it is damaged."""
    with h5ad_file.open_h5ad(path):
        pass


def _opens_as_table(path: Path) -> None:
    read_table(path)


@contextmanager
def _opened(
    url: str, entry: CatalogueEntry, report: Callable[[int], None], is_cancelled: Callable[[], bool]
) -> Iterator[tuple[RangeFile, h5py.File]]:
    """The remote file, checked as a local one would be before anything of it is read."""
    remote = RangeFile(url, entry.file_name, progress=report, cancelled=is_cancelled)
    try:
        with h5ad_file.open_stored(remote, entry.file_name, remote.size, remote=True) as file:
            yield remote, file
    except InputError as error:
        raise SourceError(f"What {url} sends cannot be used: {error}") from error
    finally:
        remote.close()


def _table_of(remote: RangeFile, file: h5py.File, entry: CatalogueEntry) -> RemoteTable:
    """The table that is kept, if it is of the same version; else it is read again and kept."""
    path = target(entry, TABLE)
    table = read_table(path) if is_good(path, check=_opens_as_table) else None
    if table is None or table.version != _version(remote):
        table = _read(remote, file, entry)
        with atomic_path(path) as part:
            write_table(table, part)
        kept.seal(path)
    return table


def _read(remote: RangeFile, file: h5py.File, entry: CatalogueEntry) -> RemoteTable:
    opened = H5adInput(file)
    places = opened.places()
    place = places[0]
    if len(places) > 1:
        place = summary.best_place(opened, {p: summary.value_kind(opened.values(p)) for p in places})
    obs, var = opened.obs(), opened.var(place)
    if fault := what_differs(entry, opened.shape(places[0]), obs):
        raise SourceError(f"{remote.url} has another file than {entry.file_name}: {fault}.")
    shape = opened.shape(place)
    if shape != (len(obs), len(var)):
        raise SourceError(f"{remote.url} has a damaged file: {place} does not fit its tables of cells and genes.")
    with h5ad_file.reading(remote.name, f"the matrix {place}"):
        cost, offsets = layout_cost(h5ad_file.matrix_at(file, place), shape)
    return RemoteTable(obs, var, place, cost, offsets, _version(remote), remote.n_received)


def _counts(remote: RangeFile, file: h5py.File, table: RemoteTable, rows: np.ndarray) -> sp.csr_matrix:
    arrays = {array.name: array for array in table.cost.arrays}

    def expect(stored: h5py.Dataset, start: int, stop: int) -> None:
        array = arrays[stored.name.rpartition("/")[2]]
        remote.will_read(int(span_bytes(array, np.array(start), np.array(stop))))

    with h5ad_file.reading(remote.name, f"the matrix {table.place}"):
        item = h5ad_file.matrix_at(file, table.place)
        counts = matrix_rows(item, rows, max_gap=table.cost.max_gap, ahead=expect)
    remote.will_read(0)
    return counts


def _version(remote: RangeFile) -> RemoteVersion:
    return RemoteVersion(remote.url, remote.validator, remote.size)
