"""What a tile of the confusion matrix needs, kept in memory: its groups, and the counts to compare."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.prepare import prepared
from labeltransfer.params import Side
from labeltransfer.results.figures import dot_plot
from labeltransfer.results.tile import groups, markers
from labeltransfer.runs.records.run import Run
from pages.shared.cached import cells, cells_file, counts_file, reader

N_GENES = 7
"""Genes of the dot plot for each parent that are higher in the tile's cells, and as many that are lower."""

WARM_UP_BYTES = 500e6
"""Counts of a larger file are read at the first click, not while a person looks at the matrix."""


@dataclass(frozen=True)
class ChosenExpression:
    """Expression of the chosen genes (n_read, n_genes), log1p of counts per 10,000, in ``rows`` of the table."""

    rows: np.ndarray
    expression: sp.csr_matrix
    genes: pd.Index


@dataclass(frozen=True)
class Genes:
    """Genes that differ between a tile's cells and each parent; None where a group is too small to compare.

    ``n_compared`` are the cells of each of the three groups that were compared.
    """

    tables: tuple[pd.DataFrame | None, pd.DataFrame | None]
    dots: pd.DataFrame | None
    n_compared: tuple[int, int, int]
    n_genes: int


@reader(cells_file, max_entries=64, shared=True)
def pair_of(run: Run, side: Side, observed: str, predicted: str, source: groups.Source) -> groups.Pair:
    """The tile's cells and parents, see :func:`.groups.pair_of`."""
    return groups.pair_of(cells(run), side, observed, predicted, source=source)


@reader(cells_file, counts_file, max_entries=128, shared=True)
def genes_of(run: Run, side: Side, observed: str, predicted: str, source: groups.Source) -> Genes:
    """Genes that differ between the tile's cells and each parent.

    Raises
    ------
    RunError
        The run was kept without its counts.
    """
    read = _chosen_expression(run)
    found = pair_of(run, side, observed, predicted, source).groups
    these, *parents = (groups.compared_rows(group.rows, read.rows) for group in found)
    tables = []
    for parent in parents:
        enough = min(len(these), len(parent)) >= markers.LEAST_CELLS
        tables.append(
            markers.compare_groups(read.expression, read.genes, first=these, second=parent) if enough else None
        )
    shown = list(
        dict.fromkeys(gene for table in tables if table is not None for gene in markers.top_markers(table, N_GENES))
    )
    named = {group.name: rows for group, rows in zip(found, (these, *parents), strict=True)}
    drawn = dot_plot.dot_table(read.expression, read.genes, shown=shown, groups=named) if shown else None
    n_compared = len(these), len(parents[0]), len(parents[1])
    return Genes((tables[0], tables[1]), drawn, n_compared, len(read.genes))


@reader(cells_file, counts_file, max_entries=4, shared=True, spinner="Reading the counts of the chosen genes, once …")
def _chosen_expression(run: Run) -> ChosenExpression:
    rows = groups.read_rows(cells(run))
    return ChosenExpression(rows, *prepared.chosen_expression(counts_file(run), rows))


def warm_up(run: Run) -> None:
    """Read what the first click will need, where it takes about a second and the run has it."""
    keys = run.stage_keys()
    if "prepare" in keys and keys.get("evaluate"):
        path = run.root / "stages" / f"prepare-{keys['prepare']}" / "prepared.h5ad"
        if path.exists() and path.stat().st_size <= WARM_UP_BYTES:
            _chosen_expression(run)
