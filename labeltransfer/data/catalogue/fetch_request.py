"""What can be asked for of a data set: the whole file, its table of cells, or the cells that some filters keep; and
how far that is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labeltransfer.data.catalogue.entries import CatalogueEntry
from labeltransfer.data.catalogue.fetch import local_path
from labeltransfer.errors import DownloadError
from labeltransfer.storage.digests import digest


@dataclass(frozen=True)
class Order:
    """One thing to fetch; it is one file here, and one process fetches it."""

    what: Literal["file", "table", "cells"] = "file"
    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Wanted values by obs column, both sorted, for "cells"."""

    def argument(self) -> str:
        """The order as text, for the process that carries it out."""
        return json.dumps([self.what, self.filters])


FILE, TABLE = Order(), Order("table")

FetchState = Literal["absent", "starting", "running", "interrupted", "failed", "cancelled", "done"]


@dataclass(frozen=True)
class FetchProgress:
    """How far a download is; ``n_done`` and ``n_total`` in bytes, ``n_total`` None where not known yet.

    Of a whole file, a new start goes on from ``n_done``; of its table or cells it begins anew.
    """

    state: FetchState
    n_done: int = 0
    n_total: int | None = None
    error: str = ""
    bytes_per_second: float | None = None

    @property
    def active(self) -> bool:
        """Whether a process is at work."""
        return self.state in ("starting", "running")

    @property
    def remaining_seconds(self) -> float | None:
        """Seconds still to wait at the speed so far, None where that cannot be told."""
        if not self.active or not self.bytes_per_second or self.n_total is None:
            return None
        return max(0.0, (self.n_total - self.n_done) / self.bytes_per_second)


def cells(filters: Mapping[str, Sequence[str]]) -> Order:
    """Order the cells that agree with the filters in all columns; empty lists of values restrict nothing."""
    return Order("cells", tuple(sorted((column, tuple(sorted(v))) for column, v in filters.items() if v)))


def order_from(argument: str) -> Order:
    """Read what ``Order.argument`` wrote.

    Raises
    ------
    DownloadError
        It is no order.
    """
    try:
        what, filters = json.loads(argument)
        if what not in ("file", "table", "cells"):
            raise ValueError(what)
        return cells(dict(filters)) if what == "cells" else Order(what)
    except (ValueError, TypeError, AttributeError) as error:
        raise DownloadError(f"'{argument}' is nothing that can be fetched: leave it out for the whole file.") from error


def target(entry: CatalogueEntry, order: Order) -> Path:
    """Where what was ordered stands once it is complete."""
    whole = local_path(entry)
    if order.what == "file":
        return whole
    if order.what == "table":
        return whole.with_name(f"{whole.stem}.table.h5ad")
    key = digest(json.dumps(order.filters))[:12]
    return whole.with_name(f"{whole.stem}.cells-{key}.h5ad")
