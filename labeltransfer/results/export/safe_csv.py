"""Tables as CSV that a spreadsheet reads as they are."""

import re
from collections.abc import Iterator
from typing import Any

import pandas as pd

_SEPARATORS = ";\t\r\n"
"""What a spreadsheet may take for the end of a cell, whatever quotes are around it: many split at ``;`` or a tab."""

_STARTS = "=+\\-@\uff1d\uff0b\uff0d\uff20" + _SEPARATORS
"""What begins a formula, full-width forms included, or is dropped by a spreadsheet so that the next character does."""

_FORMULA = re.compile(rf"(?:^|(?<=[{_SEPARATORS}]))(?=[ \xa0\u200b-\u200f\u2060\ufeff]*[{_STARTS}])")
"""The place before a formula: where a cell begins, or what a spreadsheet may take for one."""

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
    return _FORMULA.sub("'", value) if isinstance(value, str) else value
