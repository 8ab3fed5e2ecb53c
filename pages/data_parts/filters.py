"""Boxes that choose cells by the values of their columns."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import streamlit as st

from pages.data_parts.input_readers import value_columns
from pages.shared.words import plain


def filter_boxes(
    obs: pd.DataFrame,
    first: Sequence[tuple[str | None, str]],
    kept: Mapping[str, Sequence[str]],
    key: Callable[[str], str],
) -> dict[str, list[str]]:
    """Show boxes for some columns, and for any other column that is added.

    Parameters
    ----------
    obs
        Table of cells.
    first
        Columns that are offered at once with their titles; None where there is no such column.
    kept
        What the boxes hold at first.
    key
        Makes the key of a widget from its name.

    Returns
    -------
    Wanted values by column, columns without a choice left out.
    """
    kept = {name: values for name, values in kept.items() if name in obs}
    named = [(name, title) for name, title in first if name]
    others = [name for name in value_columns(obs) if name not in dict(named)]
    boxes = st.grid(2, min_column_width=200) if named else None
    chosen: dict[str, list[str]] = {}
    for name, title in named:
        assert boxes is not None
        with boxes.cell():
            titled = f"{title} ({name})" if name.lower() != title.lower() else title
            chosen[name] = _box(obs[name], titled, kept.get(name, ()), key(f"filter-{name}"))
    added = st.multiselect(
        "More filters",
        others,
        default=[name for name in kept if name in others],
        placeholder="Add a column",
        key=key("added"),
        help="Any other column of the cells. All filters must agree for a cell to be used.",
    )
    for name in added:
        chosen[name] = _box(obs[name], name, kept.get(name, ()), key(f"filter-{name}"))
    return {name: values for name, values in chosen.items() if values}


def _box(column: pd.Series, title: str, kept: Sequence[str], key: str) -> list[str]:
    counts = column.dropna().astype(str).value_counts()
    options = sorted(map(str, counts[counts > 0].index))
    return st.multiselect(
        plain(title),
        options,
        default=[value for value in kept if value in options],
        format_func=lambda value: f"{value} ({counts[value]:,})",
        placeholder="All",
        key=key,
        help=f"obs column '{plain(str(column.name))}'; cells of the whole file in brackets.",
    )
