"""Which cells a map draws where there are too many for a browser: a sample that keeps every label."""

import numpy as np
import pandas as pd

from labeltransfer.strata import shares, stratified

MOST_DRAWN = 50_000
"""Cells that a map draws; of more, a sample."""

LEAST_OF_SIDE = 0.2
"""Share of the sample that each side gets, however small it is next to the other."""

WHOLE_GROUP = 20
"""Cells of each group that are drawn before larger groups get their share; smaller groups are drawn whole."""


def sample_rows(cells: pd.DataFrame, *, n_most: int = MOST_DRAWN, seed: int = 0) -> np.ndarray:
    """Rows of the cells to draw: all, or a stratified sample.

    A group is a side's cells with the same predicted and the same observed label, or none. Groups get places by their
    share of their side, and every group keeps ``WHOLE_GROUP`` cells, or all that it has: no label is lost, and of rare
    ones more is drawn than their share.

    Parameters
    ----------
    cells
        The table of cells, n_cells rows.
    n_most
        Size of the sample; exceeded only where there are more groups than that, for each keeps one cell.
    seed
        The same seed draws the same cells of the same table.

    Returns
    -------
    Row numbers in ``cells``, array of shape (n_drawn,), ascending.
    """
    if len(cells) <= n_most:
        return np.arange(len(cells))
    sides, side_names = pd.factorize(cells["side"])
    places = shares(np.bincount(sides), n_most, least=int(LEAST_OF_SIDE * n_most))
    labels = _groups(cells["predicted_label"], cells["observed_label"])
    rng = np.random.default_rng(seed)
    drawn = []
    for side in range(len(side_names)):
        own = np.flatnonzero(sides == side)
        drawn.append(own[stratified(labels[own], int(places[side]), rng, least=WHOLE_GROUP)])
    return np.sort(np.concatenate(drawn))


def with_every_category(rows: np.ndarray, colour: pd.Series, *, least: int = WHOLE_GROUP) -> np.ndarray:
    """The sample with some cells, the first ones, of each category of a colour that it does not have yet.

    Parameters
    ----------
    rows
        Row numbers, ascending.
    colour
        What colours the cells, of length n_cells; numbers have no categories, so nothing is added for them.
    least
        Cells to add of a category, where it has as many.

    Returns
    -------
    Row numbers, array of shape (n_drawn,), ascending.
    """
    if len(rows) == len(colour) or pd.api.types.is_numeric_dtype(colour):
        return rows
    codes, categories = pd.factorize(colour)  # -1 is no value
    absent = np.setdiff1d(np.arange(len(categories)), codes[rows])
    more = [np.flatnonzero(codes == code)[:least] for code in absent]
    return np.sort(np.concatenate([rows, *more]))


def with_chosen(rows: np.ndarray, chosen: np.ndarray, *, n_most: int = MOST_DRAWN // 2, seed: int = 0) -> np.ndarray:
    """The sample with all chosen cells, or with ``n_most`` of them where they are more.

    Parameters
    ----------
    rows
        Row numbers of the sample, ascending.
    chosen
        Bool array of shape (n_cells,).

    Returns
    -------
    Row numbers, array of shape (n_drawn,), ascending.
    """
    own = np.flatnonzero(chosen)
    if len(own) > n_most:
        own = np.random.default_rng(seed).choice(own, n_most, replace=False)
    return np.sort(np.concatenate([rows[~chosen[rows]], own]))


def _groups(*columns: pd.Series) -> np.ndarray:
    """One number for each combination of values, missing ones included; array of shape (n_cells,), from 0 on."""
    joint = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        codes, values = pd.factorize(column)
        joint = joint * (len(values) + 1) + codes + 1
    return joint
