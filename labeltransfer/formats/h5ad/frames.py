"""Read the tables of an h5ad file, of cells or of genes, in the current layout or the one before anndata 0.7."""

from collections.abc import Hashable, Iterable
from typing import Any

import h5py
import numpy as np
import pandas as pd

from labeltransfer.errors import InputError
from labeltransfer.units import named, shorten

AGAIN = "Get it again from its source, or save it anew with anndata's write_h5ad."
"""The way out of most damage."""


def read_frame(file: h5py.File, where: str, name: str) -> pd.DataFrame:
    """Read the table at a place, shape (n_rows, n_columns), with names that are text.

    Parameters
    ----------
    file
        The open file.
    where
        Such as "obs".
    name
        The file's name in messages.

    Raises
    ------
    InputError
        Two columns have the same name, or one holds what is neither text nor numbers.
    Exception
        h5py and anndata raise nearly every kind over damaged files.
    """
    from anndata.io import read_elem

    item = file[where]
    table = _read_compound(file, item) if isinstance(item, h5py.Dataset) else read_elem(item)
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{where} is a {type(table).__name__}")
    # Not as an array of NumPy's own texts, each of which takes as much room as the longest.
    table.index = pd.Index([str(value) for value in _decode(table.index.to_numpy())], dtype=object, name=None)
    _require_whole(table.index, f"the names of {where}", name)
    table.columns = table.columns.astype(str)
    if not table.columns.is_unique:
        repeated = shorten(table.columns[table.columns.duplicated()].unique(), 3)
        raise InputError(f"{name}: the table {where} has more than one column {repeated}. {AGAIN}")
    return pd.DataFrame({column: usable(table[column], where, name) for column in table}, index=table.index)


def usable(column: pd.Series, where: str, name: str) -> pd.Series:
    """A column whose text is text and whose numbers are in this machine's order of bytes.

    Refuses values that cannot be compared: arrays, records.
    """
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    kinds = {type(value) for value in values} if values.dtype == object else set()
    if values.dtype.kind == "V" or not all(issubclass(kind, Hashable) and kind is not np.void for kind in kinds):
        what = f"column '{named(column.name)}' of {where} has values that are no text or numbers"
        raise InputError(f"{name}: {what}. {AGAIN}")
    fixed: np.ndarray | None = None
    if any(issubclass(kind, bytes) for kind in kinds):
        fixed = _decode(values.to_numpy())
    elif isinstance(values.dtype, np.dtype) and not values.dtype.isnative:  # pandas can't look numbers up in these
        fixed = values.to_numpy().astype(values.dtype.newbyteorder("="))
    if kinds:
        _require_whole(values if fixed is None else fixed, f"column '{named(column.name)}' of {where}", name)
    if fixed is None:
        return column
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.rename_categories(fixed)
    return pd.Series(fixed, index=column.index, name=column.name)


def _require_whole(texts: Iterable[object], what: str, name: str) -> None:
    """Refuse text with a zero byte in it: no h5ad file can be written with it."""
    if any(isinstance(text, str) and "\0" in text for text in texts):
        raise InputError(f"{name}: in {what} is text with a zero byte, which no h5ad file can be written with. {AGAIN}")


def _read_compound(file: h5py.File, dataset: h5py.Dataset) -> pd.DataFrame:
    """Read a table of the layout before anndata 0.7: one field a column, codes of categoricals, their names in uns."""
    records = dataset[:]
    fields = list(records.dtype.names or ())
    index = next((f for f in ("index", "_index") if f in fields), fields[0])
    columns: dict[str, object] = {}
    for field in fields:
        values = _decode(records[field])
        names = file.get(f"uns/{field}_categories")
        if isinstance(names, h5py.Group):
            raise TypeError(f"{names.name} is no list")
        if names is not None and values.dtype.kind in "iu":
            categories = pd.Index(_decode(np.atleast_1d(names[()])))
            codes: Any = values.astype(values.dtype.newbyteorder("="), copy=False)
            columns[field] = pd.Categorical.from_codes(codes, categories=categories)
        else:
            columns[field] = values
    table = pd.DataFrame({name: column for name, column in columns.items() if name != index})
    table.index = pd.Index(_decode(records[index]))
    return table


def _decode(values: np.ndarray) -> np.ndarray:
    """Text instead of bytes; other values as they are."""
    if values.dtype.kind == "S":
        found, places = np.unique(values, return_inverse=True)  # each text once in memory, however often it occurs
        return np.array([text.decode("utf-8") for text in found.tolist()], dtype=object)[places].reshape(values.shape)
    if values.dtype.kind == "O":
        return np.array([v.decode("utf-8") if isinstance(v, bytes) else v for v in values], dtype=object)
    return values
