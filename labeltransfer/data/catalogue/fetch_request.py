"""What can be requested of a data set: the whole file, its table of cells, or the cells that some filters keep."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labeltransfer.data.catalogue.entries import CatalogueEntry
from labeltransfer.errors import DownloadError
from labeltransfer.storage.digests import digest
from labeltransfer.storage.home import home


@dataclass(frozen=True)
class FetchRequest:
    """One thing to fetch: one file here, which one process fetches."""

    what: Literal["file", "table", "cells"] = "file"
    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Wanted values by obs column, both sorted, for "cells"."""

    def argument(self) -> str:
        """The request as text, for the process that carries it out."""
        return json.dumps([self.what, self.filters])


FILE, TABLE = FetchRequest(), FetchRequest("table")


def cells(filters: Mapping[str, Sequence[str]]) -> FetchRequest:
    """A request for the cells that agree with the filters in all columns; empty lists of values restrict nothing."""
    return FetchRequest("cells", tuple(sorted((column, tuple(sorted(v))) for column, v in filters.items() if v)))


def parse_request(argument: str) -> FetchRequest:
    """Read what ``FetchRequest.argument`` wrote.

    Raises
    ------
    DownloadError
        It is no request.
    """
    try:
        what, filters = json.loads(argument)
        if what not in ("file", "table", "cells"):
            raise ValueError(what)
        return cells(dict(filters)) if what == "cells" else FetchRequest(what)
    except (ValueError, TypeError, AttributeError) as error:
        raise DownloadError(f"'{argument}' is no fetch request: leave it out for the whole file.") from error


def local_path(entry: CatalogueEntry) -> Path:
    """Where the whole file is once it is fetched; a file put there by hand is used as well."""
    return home() / "downloads" / entry.file_name


def target(entry: CatalogueEntry, request: FetchRequest) -> Path:
    """Where what was requested is once it is complete."""
    whole = local_path(entry)
    if request.what == "file":
        return whole
    if request.what == "table":
        return whole.with_name(f"{whole.stem}.table.h5ad")
    key = digest(json.dumps(request.filters))[:12]
    return whole.with_name(f"{whole.stem}.cells-{key}.h5ad")
