"""What a tile of the confusion matrix needs, kept in memory: its groups, the counts to compare, a run's edits."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import streamlit as st

from labeltransfer.data.prepare import prepared
from labeltransfer.params import Side
from labeltransfer.results.figures import dot_plot as dots
from labeltransfer.results.scores.final_labels import Edit
from labeltransfer.results.tile import groups as pair
from labeltransfer.results.tile import markers
from labeltransfer.runs.records.edits import edits_file, read_edits
from labeltransfer.runs.records.run import Run
from pages.shared import cached

N_GENES = 7
"""Genes of the dot plot for each parent that are higher in the tile's cells, and as many that are lower."""

WARM_UP_BYTES = 500e6
"""Counts of a larger file are read at the first click, not while somebody looks at the matrix."""


@dataclass(frozen=True)
class Held:
    """Expression of the chosen genes (n_held, n_genes), log1p of counts per 10,000, in ``rows`` of the table."""

    rows: np.ndarray
    expression: sp.csr_matrix
    genes: pd.Index


@dataclass(frozen=True)
class Genes:
    """What tells a tile's cells from each parent; None where a group is too small to compare.

    ``n_compared`` are the cells of each of the three groups that were compared.
    """

    tables: tuple[pd.DataFrame | None, pd.DataFrame | None]
    dots: pd.DataFrame | None
    n_compared: tuple[int, int, int]
    n_genes: int


def pair_of(run: Run, side: Side, observed: str, predicted: str, source: pair.Source) -> pair.Pair:
    """The tile's cells and parents, see :func:`.pair.pair_of`."""
    stamp = _stamp(run.artefact("evaluate", "cells.parquet"))
    return _pair(cached.cells(run), *stamp, side, observed, predicted, source)


def genes_of(run: Run, side: Side, observed: str, predicted: str, source: pair.Source) -> Genes:
    """Genes that tell the tile's cells from each parent.

    Raises
    ------
    RunError
        The run was kept without its counts.
    """
    table = _stamp(run.artefact("evaluate", "cells.parquet"))
    counts = _stamp(run.artefact("prepare", "prepared.h5ad"))
    return _genes(cached.cells(run), *table, *counts, side, observed, predicted, source)


def warm_up(run: Run) -> None:
    """Read what the first click will need, where it takes about a second and the run has it."""
    keys = run.stage_keys()
    if "prepare" in keys and keys.get("evaluate"):
        path = run.root / "stages" / f"prepare-{keys['prepare']}" / "prepared.h5ad"
        if path.exists() and path.stat().st_size <= WARM_UP_BYTES:
            _held(cached.cells(run), *_stamp(run.artefact("evaluate", "cells.parquet")), *_stamp(path))


def edits(run: Run) -> list[Edit]:
    """The run's edits, the oldest first."""
    path = edits_file(run)
    return _edits(run, *_stamp(path)) if path.exists() else []


def _stamp(path: Path) -> tuple[str, int]:
    return str(path), path.stat().st_mtime_ns


@st.cache_resource(max_entries=64, show_spinner=False)
def _edits(_run: Run, path: str, mtime: int) -> list[Edit]:
    return read_edits(_run)


@st.cache_resource(max_entries=64, show_spinner=False)
def _pair(
    _cells: pd.DataFrame, path: str, mtime: int, side: Side, observed: str, predicted: str, source: pair.Source
) -> pair.Pair:
    return pair.pair_of(_cells, side, observed, predicted, source=source)


@st.cache_resource(max_entries=4, show_spinner="Reading the counts of the chosen genes, once …")
def _held(_cells: pd.DataFrame, path: str, mtime: int, counts_path: str, counts_mtime: int) -> Held:
    rows = pair.read_rows(_cells)
    return Held(rows, *prepared.chosen_expression(Path(counts_path), rows))


@st.cache_resource(max_entries=128, show_spinner=False)
def _genes(
    _cells: pd.DataFrame,
    path: str,
    mtime: int,
    counts_path: str,
    counts_mtime: int,
    side: Side,
    observed: str,
    predicted: str,
    source: pair.Source,
) -> Genes:
    held = _held(_cells, path, mtime, counts_path, counts_mtime)
    groups = _pair(_cells, path, mtime, side, observed, predicted, source).groups
    these, *parents = (pair.compared_rows(group.rows, held.rows) for group in groups)
    tables = []
    for parent in parents:
        enough = min(len(these), len(parent)) >= markers.LEAST_CELLS
        tables.append(
            markers.compare_groups(held.expression, held.genes, first=these, second=parent) if enough else None
        )
    told = [gene for table in tables if table is not None for gene in markers.telling(table, N_GENES)]
    shown = list(dict.fromkeys(told))
    named = {group.name: rows for group, rows in zip(groups, (these, *parents), strict=True)}
    drawn = dots.dot_table(held.expression, held.genes, shown=shown, groups=named) if shown else None
    n_compared = len(these), len(parents[0]), len(parents[1])
    return Genes((tables[0], tables[1]), drawn, n_compared, len(held.genes))
