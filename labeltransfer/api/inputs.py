"""Inputs in Python: read and inspect a file, and store an AnnData as the file that a run reads."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeltransfer.errors import InputError, RunError
from labeltransfer.params import Side

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

    from labeltransfer.data.intake.finding import Finding

PathLike = str | os.PathLike[str]


class Findings(list["Finding"]):
    """Findings of the input report, the worst first; shown a line each, with the way out below."""

    def __repr__(self) -> str:
        from labeltransfer.data.intake.finding import NOTHING_TO_DO

        lines = []
        for finding in self:
            lines.append(f"{finding.severity:>8}  {finding.title}. {finding.detail}")
            if finding.way_out != NOTHING_TO_DO:
                lines.append(f"{'':>8}  → {finding.way_out}")
        return "\n".join(lines)


def inspect(path: PathLike, labels_key: str | None = None) -> Findings:
    """Report what is in an h5ad file, what is wrong with it, and the way out, without loading it.

    Parameters
    ----------
    path
        The file.
    labels_key
        obs column with the cell types; None takes the one that looks like it.

    Returns
    -------
    A list of findings, the worst first, each with ``severity`` (``error``, ``warning`` or ``note``), ``title``,
    ``detail`` and ``way_out``. It is shown as text.

    Raises
    ------
    InputError
        The file cannot be read, or it is refused.

    Examples
    --------
    >>> import labeltransfer
    >>> labeltransfer.inspect("reference.h5ad")  # doctest: +SKIP
        note  4,200 cells, 22,966 genes. reference.h5ad holds 4,200 cells and 22,966 genes.
    """
    from labeltransfer.data.intake import inspect, read_summary

    return Findings(inspect(read_summary(Path(path)), labels_key=labels_key))


def read(path: PathLike) -> "ad.AnnData":
    """Read an h5ad file whole, once it has proven harmless.

    A file from elsewhere can point at other files or claim sizes that it does not have; such a file is refused, as the
    app does. Files of before anndata 0.7 are read too: then only counts, layers and both tables.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    The AnnData, in memory.

    Raises
    ------
    InputError
        The file cannot be read, or it is refused.

    Examples
    --------
    >>> import labeltransfer
    >>> labeltransfer.read("query.h5ad").obs_names  # doctest: +SKIP
    """
    import anndata as ad

    from labeltransfer.formats.h5ad import h5ad_file

    path = Path(path)
    with h5ad_file.open_h5ad(path) as file:
        if not h5ad_file.has_former_layout(file):
            h5ad_file.check_every_chunk(file)
            with h5ad_file.reading(path.name, "the whole file"):
                return ad.read_h5ad(path)
        places = h5ad_file.count_places(file)
        layers = {p.partition("/")[2]: h5ad_file.read_rows(file, p) for p in places if p.startswith("layers/")}
        counts = h5ad_file.read_rows(file, "X") if "X" in places else None
        raw = None
        if "raw" in places:
            raw = {"X": h5ad_file.read_rows(file, "raw"), "var": h5ad_file.read_var(file, "raw")}
        obs, var = h5ad_file.read_obs(file), h5ad_file.read_var(file)
        return ad.AnnData(counts, obs=obs, var=var, layers=layers, raw=raw)


def stored(given: "ad.AnnData | PathLike", side: Side, folder: Path) -> Path:
    """The h5ad file of an input: the path that was given, or a file in ``folder`` that an AnnData is written to.

    Of an AnnData the matrices and both tables are written; it is not changed. The file is named after its content, so
    that the same cells give the same file, and stages made of it are found again.

    Raises
    ------
    InputError
        It is neither, or it cannot be written as h5ad.
    RunError
        The disk does not take the file.
    """
    if isinstance(given, str | os.PathLike):
        return Path(given).expanduser()
    import anndata as ad

    from labeltransfer.storage.digests import file_digest
    from labeltransfer.storage.files import move_into_place
    from labeltransfer.storage.h5ad import write_h5ad

    if not isinstance(given, ad.AnnData):
        raise InputError(f"The {side} is a {type(given).__name__}: give an AnnData or the path of an h5ad file.")
    building = folder / f".{side}.{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_h5ad(_plain(given, side), building)
        digest = file_digest(building)
        target = folder / f"{side}-{digest[:16]}.h5ad"
        # A file written again is a new input, for which no stage is found; one that is damaged has to be.
        if not target.is_file() or file_digest(target) != digest:
            move_into_place(building, target)
        return target
    except OSError as error:
        raise RunError(
            f"The {side} cannot be stored in {folder} ({error.strerror or error}): free some space."
        ) from error
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"The {side} cannot be written as h5ad ({str(error).splitlines()[0]}): give counts as a NumPy or SciPy "
            "matrix, and tables of text and numbers."
        ) from error
    finally:
        building.unlink(missing_ok=True)


def stored_name(column: object) -> str:
    """Name of an obs column in such a file: text, without the slash that would be a folder in it."""
    name = str(column).replace("/", "_")
    return "_index_" if name == "_index" else name  # anndata keeps the names of the rows under it


def _plain(adata: "ad.AnnData", side: Side) -> "ad.AnnData":
    """What a run reads of an AnnData, over the same matrices, with tables that h5ad can hold."""
    import anndata as ad

    adata = adata.to_memory() if adata.isbacked else adata
    obs, var = _table(adata.obs, f"obs of the {side}"), _table(adata.var, f"var of the {side}")
    raw = None
    if adata.raw is not None:
        raw = {"X": adata.raw.X, "var": _table(adata.raw.var, f"raw.var of the {side}")}
    layers = {stored_name(name): adata.layers[name] for name in adata.layers}
    return ad.AnnData(adata.X, obs=obs, var=var, layers=layers, raw=raw)


def _table(table: "pd.DataFrame", what: str) -> "pd.DataFrame":
    """A copy with text for names: numbers stay, anything else becomes categories of text."""
    import pandas as pd

    names = [stored_name(name) for name in table.columns]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise InputError(f"In {what} more than one column is called {min(repeated)!r}: rename one of them.")
    columns: dict[str, Any] = {
        name: _storable(table.iloc[:, place]).array for place, name in enumerate(names)
    }  # by place: an index may have repeated names
    return pd.DataFrame(columns, index=pd.Index(_texts(table.index), dtype=object))


def _texts(values: Iterable[object]) -> list[str]:
    return [str(value) for value in values]


def _storable(column: "pd.Series") -> "pd.Series":
    import pandas as pd

    dtype = column.dtype
    plain = isinstance(dtype, pd.CategoricalDtype) and all(isinstance(c, str) for c in dtype.categories)
    numbers = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)
    if plain or (numbers and not pd.api.types.is_extension_array_dtype(dtype)):
        return column
    return column.astype(object).map(str, na_action="ignore").astype("category")
