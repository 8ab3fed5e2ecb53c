"""Coarser levels that a file brings itself: columns of ``obs`` in which each label has one parent."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from labeltransfer.errors import SettingsError

MOST_SHOWN = 3
"""Labels, or parents of one, that a message names."""


def parents_of(obs: pd.DataFrame, labels_key: str, level_key: str) -> dict[str, str]:
    """The parent of each label in a coarser column; labels whose cells all lack one are left out.

    Parameters
    ----------
    obs
        Table of cells, n_cells rows.
    labels_key, level_key
        Columns with the labels and with the coarser ones.

    Raises
    ------
    SettingsError
        A column is not there, or a label has two parents.
    """
    for key in (labels_key, level_key):
        if key not in obs:
            raise SettingsError(f"There is no obs column '{key}' with labels or with a coarser level of them.")
    pairs = _pairs(obs, labels_key, level_key)
    twice = pairs[pairs.duplicated("label", keep=False)]
    if len(twice):
        label = twice["label"].iloc[0]
        parents = sorted(twice.loc[twice["label"] == label, "parent"])
        shown = ", ".join(f"'{parent}'" for parent in parents[:MOST_SHOWN])
        raise SettingsError(
            f"The column '{level_key}' is no coarser level of '{labels_key}': the label '{label}' has {len(parents)} "
            f"parents there ({shown}{', …' * (len(parents) > MOST_SHOWN)}). Choose a column in which each label has "
            "one, or correct these cells."
        )
    return dict(zip(pairs["label"], pairs["parent"], strict=True))


def nested_columns(obs: pd.DataFrame, labels_key: str, *, without: Iterable[str] = ()) -> list[str]:
    """Columns that are coarser levels of the labels and of one another, from fine to coarse.

    In each of them every label has one parent, missing values left out, and there are at least 2 parents and fewer
    than there are labels. Of columns that group the labels alike, the first is taken; of columns that cut across one
    another, the finer.

    Parameters
    ----------
    obs
        Table of cells, n_cells rows.
    labels_key
        Column with the labels.
    without
        Columns that are not asked, such as those of batches: in small data each label may lie in one batch.
    """
    if labels_key not in obs:
        return []
    n_labels = obs[labels_key].nunique()
    skipped = {labels_key, *without}
    found: list[tuple[str, dict[str, str]]] = []
    for column in (c for c in obs.columns if c not in skipped and _is_text(obs[c])):
        if not 2 <= obs[column].nunique() < n_labels:
            continue
        pairs = _pairs(obs, labels_key, column)
        if not pairs["label"].duplicated().any() and len(pairs) == n_labels:
            found.append((column, dict(zip(pairs["label"], pairs["parent"], strict=True))))
    found.sort(key=lambda item: -len(set(item[1].values())))  # stable: the first of several alike stays first
    kept: list[tuple[str, dict[str, str]]] = []
    for column, parents in found:
        if not kept or _coarser(kept[-1][1], parents):
            kept.append((column, parents))
    return [column for column, _ in kept]


def _coarser(fine: dict[str, str], coarse: dict[str, str]) -> bool:
    """Whether labels with one fine parent have one coarse parent as well, and there are fewer of these."""
    above = {(fine[label], coarse[label]) for label in fine}
    return len(above) == len(set(fine.values())) and len(set(coarse.values())) < len(above)


def _pairs(obs: pd.DataFrame, labels_key: str, level_key: str) -> pd.DataFrame:
    """Each label with each of its parents once, as text, without missing values."""
    codes, names = zip(*(pd.factorize(obs[key]) for key in (labels_key, level_key)), strict=True)
    both = (codes[0] >= 0) & (codes[1] >= 0)
    there = np.unique(codes[0][both].astype(np.int64) * max(len(names[1]), 1) + codes[1][both])
    label, parent = np.divmod(there, max(len(names[1]), 1))
    values: Sequence[np.ndarray] = [np.asarray(n, dtype=object) for n in names]
    return pd.DataFrame({"label": values[0][label], "parent": values[1][parent]}).astype(str)


def _is_text(column: pd.Series) -> bool:
    kind = column.cat.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
    return bool(pd.api.types.is_object_dtype(kind) or pd.api.types.is_string_dtype(kind))
