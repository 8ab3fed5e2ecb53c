"""The table of cells of a data set whose counts are still on a server, and where fetched cells came from."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from labeltransfer.data.catalogue.read_cost import ReadCost, StoredArray, needed_bytes
from labeltransfer.errors import DownloadError
from labeltransfer.formats.h5ad.h5ad_file import read_obs, read_var
from labeltransfer.storage.download import RemoteVersion
from labeltransfer.storage.h5ad import write_h5ad

SOURCE = "fetched_from"
"""Entry of uns that says where the cells of a file were fetched from, and at the cost of how many bytes."""


@dataclass(frozen=True)
class RemoteTable:
    """Cells and genes of a remote file, and what fetching cells costs.

    ``obs`` and ``var`` are whole; ``place`` is where the raw counts are; ``cost`` and ``offsets`` are those of
    ``read_cost.layout_cost``; ``version`` says of which file; ``n_received`` are the bytes that reading all this took.
    """

    obs: pd.DataFrame
    var: pd.DataFrame
    place: str
    cost: ReadCost
    offsets: np.ndarray
    version: RemoteVersion
    n_received: int

    def needed_bytes(self, mask: np.ndarray) -> int:
        """About how many bytes fetching some cells takes; ``mask`` has shape (n_cells,)."""
        return needed_bytes(self.cost, self.offsets, np.flatnonzero(mask))


def write_table(table: RemoteTable, path: Path) -> None:
    """Write a table as an h5ad without counts.

    Raises
    ------
    OSError
        The disk does not take it.
    """
    facts = {
        "place": table.place,
        "cost": asdict(table.cost),
        "version": asdict(table.version),
        "n_received": table.n_received,
    }
    uns = {"facts": json.dumps(facts), "offsets": table.offsets}
    write_h5ad(ad.AnnData(obs=_writable(table.obs), var=_writable(table.var), uns=uns), path)


def read_table(path: Path) -> RemoteTable:
    """Read what ``write_table`` wrote.

    Raises
    ------
    DownloadError
        The file is damaged.
    """
    try:
        return _read_table(path)
    # What h5py and anndata raise of damaged files has no type of its own.
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
        raise DownloadError(f"{path} is damaged ({str(error)[:200]}): delete it and fetch the table again.") from error


def _read_table(path: Path) -> RemoteTable:
    with h5py.File(path, "r", locking="best-effort") as file:
        obs, var, uns = read_obs(file), read_var(file), ad.io.read_elem(file["uns"])
    facts: dict[str, Any] = json.loads(uns["facts"])
    cost = facts["cost"]
    arrays = tuple(StoredArray(**array) for array in cost.pop("arrays"))
    return RemoteTable(
        obs,
        var,
        facts["place"],
        ReadCost(arrays=arrays, **cost),
        uns["offsets"],
        RemoteVersion(**facts["version"]),
        facts["n_received"],
    )


def read_source(path: Path) -> dict[str, Any]:
    """Where the cells of a fetched file came from: ``url``, ``version``, and ``n_bytes`` and ``n_cells`` of the whole.

    ``n_received`` are the bytes that fetching took. Empty for other files.
    """
    with h5py.File(path, "r", locking="best-effort") as file:
        item = file.get(f"uns/{SOURCE}")
        return dict(ad.io.read_elem(item)) if item is not None else {}


def write_cells(table: RemoteTable, rows: np.ndarray, counts: Any, source: dict[str, Any], path: Path) -> None:
    """Write some cells of a table with their counts, shape (len(rows), n_genes), as an ordinary h5ad.

    Raises
    ------
    OSError
        The disk does not take it.
    """
    obs = _writable(table.obs.iloc[rows])
    write_h5ad(ad.AnnData(counts, obs=obs, var=_writable(table.var), uns={SOURCE: source}), path)


def _writable(table: pd.DataFrame) -> pd.DataFrame:
    """A table that anndata writes whatever its settings: nullable texts become categories."""
    nullable = [column for column in table if isinstance(table[column].dtype, pd.StringDtype)]
    return table.astype(dict.fromkeys(nullable, "category"))
