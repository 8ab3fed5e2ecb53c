"""The columns of ``obs``: which of them mean what, which cells they select, and which cells have no label."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labeltransfer.data.intake.summary import Summary, full_length
from labeltransfer.errors import SettingsError
from labeltransfer.units import shorten

UNLABELLED = frozenset(
    {"", "nan", "na", "n/a", "none", "null", "unknown", "undefined", "unassigned", "not assigned", "unlabelled"}
    | {"unlabeled", "unannotated"}
)
"""Spellings, in lower case, that mean no label."""

# Names are compared without case, dots, dashes and underscores; the likeliest come first.
_LABELS: tuple[str, ...] = (
    "cell_ontology_class",
    "cell_type",
    "cell_types",
    "cell_type_label",
    "author_cell_type",
    "cell_label",
)
_LABELS += ("annotation", "annotations", "cell_annotation", "free_annotation", "final_annotation", "labels", "label")
_LABELS += ("cell_class", "class", "cluster_name", "cluster_label")
_TISSUE = ("tissue", "organ", "tissue_name", "organ_name", "tissue_general", "organ_tissue", "anatomical_region")
_SEX = ("sex", "mouse_sex", "gender", "donor_sex", "patient_sex")
_BATCH: tuple[str, ...] = (
    "mouse_id",
    "mouse",
    "donor_id",
    "donor",
    "individual",
    "patient",
    "patient_id",
    "subject",
    "subject_id",
)
_BATCH += (
    "sample",
    "sample_id",
    "batch",
    "library",
    "library_id",
    "channel",
    "orig_ident",
    "replicate",
    "plate",
    "lane",
)
_TECHNOLOGY = ("technology", "tech", "method", "assay", "platform", "protocol", "chemistry")

MAX_LABELS = 500


@dataclass(frozen=True)
class Guess:
    """What the columns of a file probably mean; None or empty where nothing is evident."""

    labels_key: str | None = None
    tissue: str | None = None
    sex: str | None = None
    batch: tuple[str, ...] = ()
    """Columns that may split the cells into batches, likeliest first."""
    technology: str | None = None
    """A name of the technology, from a column with one value, or from the depth of the counts."""
    full_length: bool | None = None
    """Whether the counts look like reads of a full-length protocol such as Smart-seq2."""


def guess(summary: Summary) -> Guess:
    """Guess from names and values what the columns of ``obs`` mean."""
    obs = summary.obs
    named = [*_named(obs, _LABELS), *_containing(obs, "celltype")]
    labels = [c for c in named if 0 < _n_values(obs[c]) <= MAX_LABELS]
    # A column with one value only is taken where there is no better one.
    labels.sort(key=lambda column: _n_values(obs[column]) < 2)
    most = min(200, max(2, len(obs) // 20))
    batch = tuple(c for c in _named(obs, _BATCH) if 2 <= _n_values(obs[c]) <= most)
    full = full_length(summary)
    methods = [str(obs[c].dropna().iloc[0]) for c in _named(obs, _TECHNOLOGY) if _n_values(obs[c]) == 1]
    by_depth = {True: "full-length", False: "droplet", None: None}[full]
    return Guess(
        labels_key=labels[0] if labels else None,
        tissue=next(iter(_named(obs, _TISSUE)), None),
        sex=next(iter(_named(obs, _SEX)), None),
        batch=batch,
        technology=methods[0] if methods else by_depth,
        full_length=full,
    )


def filter_rows(obs: pd.DataFrame, filters: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Choose cells by the values of their columns.

    Parameters
    ----------
    obs
        Table of cells.
    filters
        Wanted values by column; a cell must agree in all columns. An empty list of values restricts nothing.

    Returns
    -------
    Mask of shape (n_cells,).

    Raises
    ------
    SettingsError
        A column or a value does not occur; says which do.
    """
    mask = np.ones(len(obs), dtype=bool)
    for column, wanted in filters.items():
        if column not in obs:
            raise SettingsError(f"There is no obs column '{column}' to filter by. There are: {shorten(obs.columns)}.")
        codes, there = pd.factorize(obs[column])
        is_float = np.asarray(there).dtype.kind == "f"
        names, asked = ([_without_zero(v) if is_float else str(v) for v in values] for values in (there, wanted))
        missing = [name for name in asked if name not in names]
        if missing:
            listed = sorted(names, key=float) if is_float else sorted(names)
            raise SettingsError(f"No cell has {column} = {shorten(missing)}. Its values are: {shorten(listed)}.")
        if len(wanted):
            chosen = np.isin(names, asked)
            mask &= np.append(chosen, False)[codes]  # code -1, a missing value, takes the False at the end
    return mask


def is_unlabelled(labels: pd.Series) -> np.ndarray:
    """Say which cells have no label: NaN, an empty one, or one that says so, such as "Unknown" (see ``UNLABELLED``).

    Returns
    -------
    Mask of shape (n_cells,).
    """
    codes, there = pd.factorize(labels)
    nothing = np.array([str(value).strip().lower() in UNLABELLED for value in there], dtype=bool)
    return np.append(nothing, True)[codes]


def _without_zero(value: object) -> str:
    """A number as people write it: pandas makes 3 into 3.0 where another cell's value is missing."""
    return str(value).removesuffix(".0")


def _plain(name: str) -> str:
    """A name without case, dots, dashes and underscores: mouse.sex, mouse_sex and MouseSex are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _named(obs: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Columns that have one of these names, in the order of the names."""
    return [c for name in names for c in obs.columns if _plain(c) == _plain(name) and _is_text(obs[c])]


def _containing(obs: pd.DataFrame, word: str) -> list[str]:
    # Identifiers of ontology terms mean the same as the names next to them, which are easier to read.
    return [c for c in obs.columns if word in _plain(c) and "termid" not in _plain(c) and _is_text(obs[c])]


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_float_dtype(column)


def _n_values(column: pd.Series) -> int:
    """Number of different values that cells have; categories without cells do not count."""
    return int(column.nunique(dropna=True))
