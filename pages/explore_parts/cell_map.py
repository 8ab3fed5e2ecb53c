"""The map of the cells: what can colour it, its figure, and what a lasso in it has chosen."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from labeltransfer.errors import RunError
from labeltransfer.results.figures import scatter
from labeltransfer.results.scores.cells import METHODS, OBS_PREFIX
from labeltransfer.runs.records.run import Run
from pages.shared import cached
from pages.shared.cached import cells_file, reader
from pages.shared.frame import catching

VIEWS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    # cells shown, panels
    "Side by side": (("reference", "query"), ("reference", "query")),
    "Overlaid": (("reference", "query"), ()),
    "Reference": (("reference",), ("reference",)),
    "Query": (("query",), ("query",)),
}
GENE = "Gene expression"
COLUMNS = {
    "Predicted label": "predicted_label",
    "Observed label": "observed_label",
    "Confidence": "confidence",
    "Technology": "technology",
    "Side": "side",
    "Batch": "batch",
    "Counts per cell": "n_counts",
    "Genes per cell": "n_genes",
}


MOST_CATEGORIES = 60


@reader(cells_file, max_entries=32)
def own_columns(run: Run) -> dict[str, str]:
    """Name in the list to column, of the input's own columns whose values colours can distinguish."""
    own, cells = {}, cached.cells(run)
    for name in (c for c in cells.columns if c.startswith(OBS_PREFIX)):
        column = cells[name]
        if pd.api.types.is_numeric_dtype(column):
            fit = bool(column.notna().any())
        else:
            # Barcodes give themselves away in the first cells; to count a million takes long.
            fit = column.head(5000).nunique() <= MOST_CATEGORIES and 2 <= column.nunique() <= MOST_CATEGORIES
        if fit:
            own[f"{name.removeprefix(OBS_PREFIX)} (input column)"] = name
    return own


def gene_names(run: Run) -> tuple[Sequence[str], int]:
    """Shared genes, and the place of the most variable one; none where the run was kept without its counts."""
    with suppress(RunError):
        _ = run.artefacts.prepared  # raised where it is gone
        with catching():  # damaged counts cost the genes alone, with a message
            return cached.gene_names(run)
    return (), 0


@reader(cells_file, max_entries=12, shared=True, spinner="Drawing the map …")
def draw(run: Run, basis: scatter.Basis, view: str, column: str, *, gene: str, names: bool, dark: bool) -> go.Figure:
    """The figure, kept for all sessions; it depends on the settings above it alone, so that a selection in it stays."""
    sides, panels = VIEWS[view]
    cells, shown, drawn = cached.cells(run), cached.side_rows(run, sides), cached.drawn_rows(run, sides, column)
    colour = pd.Series(cached.expression(run, gene), index=cells.index, name=gene) if gene else cells[column]
    limits: tuple[float, float] | None = None
    if column == "confidence":
        limits = (0.0, 1.0)
    elif column == "distance_percentile":
        limits = (0.0, 100.0)
    elif gene:
        limits = (0.0, max(float(colour.max()), 0.1))
    elif pd.api.types.is_numeric_dtype(colour):
        limits = scatter.value_range(colour.iloc[shown])
    part, colour = cells.iloc[drawn], colour.iloc[drawn]
    return scatter.scatter(
        part,
        colour.rename(next((k for k, v in COLUMNS.items() if v == column), gene or column)),
        basis=basis,
        split=panels,
        colours=cached.colours(run) if column.endswith("_label") else None,
        titles={side: panel_title(cells, part, side) for side in panels},
        limits=limits,
        names=(part["predicted_label"] if pd.api.types.is_numeric_dtype(colour) else colour) if names else None,
        rows=np.searchsorted(shown, drawn),
        dark=dark,
    )


def panel_title(cells: pd.DataFrame, drawn: pd.DataFrame, side: str) -> str:
    """Side and technology with the number of cells, and with how many of them are drawn where not all are."""
    own = cells["side"] == side
    n_cells, n_drawn = int(own.sum()), int((drawn["side"] == side).sum())
    counted = f"{n_cells:,} cells" if n_drawn == n_cells else f"{n_drawn:,} of {n_cells:,} cells drawn"
    return f"{side.capitalize()}: {cells['technology'].iat[int(np.argmax(own))]}, {counted}"


def selected_rows(event: Any) -> list[int]:
    """Numbers of the selected cells among the shown ones, ascending, each once."""
    marks = (point["customdata"] for point in event["selection"]["points"])
    return sorted({int(mark[0] if isinstance(mark, list) else mark) for mark in marks})


def agreement_columns(cells: pd.DataFrame) -> dict[str, str]:
    """Names in a list of colours to columns, of what the methods say, where the run has them."""
    columns = {
        "Label that is sure enough": "label",
        "Level of that label": "label_level",
        "Methods that agree": "agreement",
        "Distance percentile": "distance_percentile",
        "Consensus label": "consensus_label",
        **{title: f"{name}_label" for name, title in METHODS.items()},
    }
    return {title: column for title, column in columns.items() if column in cells}
