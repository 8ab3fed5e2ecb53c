"""Fetch a whole file of the catalogue from one of its addresses, and check that it is the right one."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from labeltransfer.config import config
from labeltransfer.data.catalogue.entries import CatalogueEntry
from labeltransfer.data.catalogue.fetch_request import local_path
from labeltransfer.errors import DownloadError, InputError
from labeltransfer.formats.h5ad.h5ad_file import counts_shape, open_h5ad, read_obs
from labeltransfer.storage.download import Progress, SourceError, download, part_version

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def urls(entry: CatalogueEntry) -> list[str]:
    """Addresses to try in turn: ``$LABELTRANSFER_MIRROR`` alone if set, else the public ones."""
    if mirror := config().mirror:
        return [f"{mirror}/{entry.file_name}"]
    addresses = [entry.url, *entry.mirror_urls]
    started = part_version(local_path(entry))
    # A download that started at one address can only continue there.
    return sorted(addresses, key=lambda url: not (started and started.url == url))


def fetch(
    entry: CatalogueEntry,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Path:
    """Fetch and verify a file unless it is there; resumes what an earlier call left.

    Raises
    ------
    DownloadError
        No address gives the file, the connection kept breaking, the disk is full, or what arrived is another file.
    """
    path = local_path(entry)
    faults: list[str] = []
    for url in urls(entry):
        try:
            return download(
                url,
                path,
                progress=progress,
                cancelled=cancelled,
                check=lambda part: verify(part, entry),
                starts_with=HDF5_SIGNATURE,
            )
        except SourceError as error:
            faults.append(str(error))
    raise DownloadError(" ".join(faults))


def verify(path: Path, entry: CatalogueEntry) -> None:
    """Check that a file is the h5ad that the entry describes.

    Raises
    ------
    SourceError
        It is damaged, or another file.
    """
    try:
        with open_h5ad(path) as file:
            shape = counts_shape(file, "X")
            obs = read_obs(file)
    except InputError as error:
        reason = str(error).replace(str(path), entry.file_name).replace(path.name, entry.file_name)
        raise SourceError(f"What arrived as {entry.file_name} was deleted: {reason}") from error
    if fault := what_differs(entry, shape, obs):
        raise SourceError(f"What arrived as {entry.file_name} is another file and was deleted: {fault}.")


def what_differs(entry: CatalogueEntry, shape: tuple[int, int], obs: pd.DataFrame) -> str:
    """In what a file with this shape of X and these cells differs from the entry; empty where it does not."""
    if shape != entry.shape:
        return f"it has {shape[0]:,} cells and {shape[1]:,} genes instead of {entry.shape[0]:,} and {entry.shape[1]:,}"
    missing = sorted({entry.labels_key, entry.tissue_key, entry.sex_key} - set(obs.columns))
    return f"its obs has no column {', '.join(missing)}" if missing else ""
