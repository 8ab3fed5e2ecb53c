"""Readers of a run's files, kept in memory; a file that changes is read anew.

What has a row a cell is kept once for all sessions and never copied: a million cells take a second to copy, at each
click. Pages read it and never write into it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from labeltransfer.data.prepare import prepared
from labeltransfer.errors import RunError
from labeltransfer.params import Side
from labeltransfer.results.figures import charts
from labeltransfer.results.maps import sampling
from labeltransfer.results.scores import evaluate
from labeltransfer.results.scores.evaluate import Normalize
from labeltransfer.results.scores.read_cells import read_cells
from labeltransfer.runs.records.checksums import require_whole
from labeltransfer.runs.records.run import Run
from labeltransfer.storage.files import read_json


def cells(run: Run) -> pd.DataFrame:
    """The table of cells of a finished run, shared by all sessions: read it, never write into it."""
    # Columns added to this one stay with who added them; the values are everybody's.
    return _cells(*_table(run)).copy(deep=False)


def side_rows(run: Run, sides: Sequence[str]) -> np.ndarray:
    """Rows of some sides in the table of cells, array of shape (n_shown,), ascending."""
    return _side_rows(*_table(run), tuple(sides))


def drawn_rows(run: Run, sides: Sequence[str], colour: str = "") -> np.ndarray:
    """Rows of the cells that a map of some sides draws; of more than it takes, a sample with every label.

    ``colour`` names a column: categories of it that the sample lacks are added.
    """
    return _drawn_rows(*_table(run), tuple(sides), colour)


def confusion(run: Run, *, side: Side, normalize: Normalize) -> pd.DataFrame:
    """Confusion matrix of all cells of a side, see :func:`.evaluate.confusion`."""
    return _confusion(*_table(run), side, normalize)


def confusion_chart(run: Run, *, side: Side, normalize: Normalize, dark: bool, verdicts: Sequence[str] = ()) -> Any:
    """The matrix as a clickable chart, see :func:`.matrix.confusion_chart`; to build it takes as long as a page.

    ``verdicts`` of the rows of :func:`confusion` colour the tiles, where any are given.
    """
    return _confusion_chart(*_table(run), side, normalize, dark, tuple(verdicts))


def per_label(run: Run, *, side: Side) -> pd.DataFrame:
    """Scores by label over all cells of a side, see :func:`.evaluate.per_label`."""
    return _per_label(*_table(run), side)


def metrics(run: Run) -> dict[str, Any]:
    """Scores of a finished run."""
    return _json(*_stamp(run.artefact("evaluate", "metrics.json")))


def trust(run: Run) -> dict[str, Any]:
    """How far a finished run's labels can be believed; empty for a run that is older than these checks."""
    try:
        path = run.artefact("evaluate", "trust.json")
    except RunError:
        return {}
    return _json(*_stamp(path))


def summary(run: Run) -> dict[str, Any]:
    """What preparation did, in plain counts."""
    return _json(*_stamp(run.artefact("prepare", "summary.json")))


def gene_names(run: Run) -> tuple[tuple[str, ...], int]:
    """Shared genes from A to Z, and the place among them of the most variable one."""
    return _gene_names(*_stamp(run.artefact("prepare", "prepared.h5ad")))


def expression(run: Run, gene: str) -> np.ndarray:
    """Log-normalised expression of one gene, array of shape (n_cells,)."""
    return _expression(*_stamp(run.artefact("prepare", "prepared.h5ad")), gene)


def colours(run: Run) -> dict[str, str]:
    """Colour of every label of a run, observed or predicted."""
    return _colours(*_table(run))


def _table(run: Run) -> tuple[str, int]:
    return _stamp(run.artefact("evaluate", "cells.parquet"))


def _stamp(path: Path) -> tuple[str, int]:
    return str(path), path.stat().st_mtime_ns


@st.cache_resource(max_entries=6, show_spinner="Reading the cells …")
def _cells(path: str, mtime: int) -> pd.DataFrame:
    return read_cells(require_whole(Path(path)))


@st.cache_resource(max_entries=16, show_spinner=False)
def _side_rows(path: str, mtime: int, sides: tuple[str, ...]) -> np.ndarray:
    return np.flatnonzero(_cells(path, mtime)["side"].isin(sides).to_numpy())


@st.cache_resource(max_entries=64, show_spinner=False)
def _drawn_rows(path: str, mtime: int, sides: tuple[str, ...], colour: str) -> np.ndarray:
    table, shown = _cells(path, mtime), _side_rows(path, mtime, sides)
    if not colour:
        groups = table[["side", "predicted_label", "observed_label"]].iloc[shown]
        return shown[sampling.sample_rows(groups, n_most=sampling.MOST_DRAWN)]
    among = np.searchsorted(shown, _drawn_rows(path, mtime, sides, ""))
    return shown[sampling.with_every_category(among, table[colour].iloc[shown])]


@st.cache_data(max_entries=64, show_spinner=False)
def _confusion(path: str, mtime: int, side: Side, normalize: Normalize) -> pd.DataFrame:
    return evaluate.confusion(_cells(path, mtime), side=side, normalize=normalize)


@st.cache_resource(max_entries=32, show_spinner=False)
def _confusion_chart(
    path: str, mtime: int, side: Side, normalize: Normalize, dark: bool, verdicts: tuple[str, ...]
) -> Any:
    table = _confusion(path, mtime, side, normalize)
    return charts.confusion_chart(table.assign(verdict=verdicts) if verdicts else table, normalize=normalize, dark=dark)


@st.cache_data(max_entries=32, show_spinner=False)
def _per_label(path: str, mtime: int, side: Side) -> pd.DataFrame:
    return evaluate.per_label(_cells(path, mtime), side=side)


@st.cache_data(max_entries=32, show_spinner=False)
def _json(path: str, mtime: int) -> dict[str, Any]:
    return read_json(require_whole(Path(path)))


@st.cache_resource(max_entries=8, show_spinner=False)
def _gene_names(path: str, mtime: int) -> tuple[tuple[str, ...], int]:
    table = prepared.read_genes(Path(path))
    names = tuple(sorted(table.index.astype(str), key=str.lower))
    first = str(table["highly_variable_rank"].fillna(np.inf).astype(float).idxmin())
    return names, names.index(first)


@st.cache_resource(max_entries=64, show_spinner=False)
def _expression(path: str, mtime: int, gene: str) -> np.ndarray:
    return prepared.expression(Path(path), gene)


@st.cache_data(max_entries=16, show_spinner=False)
def _colours(path: str, mtime: int) -> dict[str, str]:
    table = _cells(path, mtime)
    labels = pd.concat([pd.Series(table[name].unique()) for name in ("observed_label", "predicted_label")])
    return charts.label_colours(labels.dropna())
