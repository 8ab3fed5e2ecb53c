"""Tables as CSV that a spreadsheet reads as they are."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet reads a cell that begins so as a formula, or drops the character and then does."""

BLOCK = 100_000
"""Rows that are made into text at a time, so that a million cells need little more memory than their file."""


def to_csv(frame: pd.DataFrame) -> str:
    """Write a table as CSV without its index.

    Text, and column names, that a spreadsheet would take for a formula get an apostrophe in front, as OWASP advises
    ("CSV injection"). Numbers keep six digits.
    """
    return "".join(csv_blocks(frame))


def csv_blocks(frame: pd.DataFrame) -> Iterator[str]:
    """The CSV in pieces of ``BLOCK`` rows; the header is in the first."""
    for start in range(0, max(len(frame), 1), BLOCK):
        part = frame.iloc[start : start + BLOCK]
        safe = {_escape(name): _escape_column(part[name]) for name in part.columns}
        table = pd.DataFrame(safe, columns=list(safe))
        yield table.to_csv(index=False, header=start == 0, float_format="%.6g", lineterminator="\n")


def _escape_column(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = {value: _escape(value) for value in column.cat.categories}
        return column.astype(object).map(categories, na_action="ignore")
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        return column.astype(object).map(_escape, na_action="ignore")
    return column


def _escape(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
