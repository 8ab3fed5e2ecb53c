"""The cells on maps, in any colour; a lasso lists what it circles."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from labeltransfer.errors import RunError
from labeltransfer.results.figures import scatter
from labeltransfer.results.scores.cells import OBS_PREFIX
from labeltransfer.runs.records.run import Run
from pages.explore_parts.on_demand import on_demand_section
from pages.shared import cached
from pages.shared.cached import cells_file, reader
from pages.shared.cell_list import cell_list
from pages.shared.frame import catching, guard, page_header, require_run
from pages.shared.trust_view import agreement_columns, alarm_banner, trust_section
from pages.shared.words import plain

BASES: dict[scatter.Basis, str] = {"scanvi": "scANVI", "scvi": "scVI"}
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
OF_SAMPLE = ": it takes the drawn ones alone; Compare and Export take all cells of a label"


@reader(cells_file, max_entries=32)
def own_columns(run: Run) -> dict[str, str]:
    """Name in the list to column, of the input's own columns that can be told apart by colour."""
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
        run.artefact("prepare", "prepared.h5ad")
        with catching():  # damaged counts cost the genes alone, and are told of
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


guard()
page_header("Explore", "explore")
run = require_run("evaluate")

with catching():
    cells = cached.cells(run)
    genes, most_variable = gene_names(run)
    options = COLUMNS | agreement_columns(cells) | ({GENE: ""} if genes else {}) | own_columns(run)
    alarm_banner(run)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        basis = st.segmented_control(
            "Map of",
            [basis for basis in BASES if f"{basis}_1" in cells],  # a run that was mapped has scANVI's map alone
            default="scanvi",
            format_func=lambda key: BASES[key],
            required=True,
            key="explore-basis-mapped" if run.params.mapping else "explore-basis",
            persist_state="session",
            help="MDE of the latent of scVI, which knows no labels, or of scANVI, which knows the reference's. "
            "Near means alike; distances between far groups, and the axes, mean nothing.",
        )
        view = st.segmented_control(
            "Cells", list(VIEWS), default="Side by side", required=True, key="explore-view", persist_state="session"
        )
        chosen = st.selectbox(
            "Colour", list(options), key=f"explore-colour-{run.id}", width=240, persist_state="session"
        )
        gene = ""
        if chosen == GENE:
            gene = st.selectbox(
                "Gene",
                genes,
                index=most_variable,
                key=f"explore-gene-{run.id}",
                width=200,
                persist_state="session",
                help=f"Any of the {len(genes):,} shared genes: type to search. log1p of counts per 10,000.",
            )
        names = st.toggle(
            "Names on the map",
            key="explore-names",
            persist_state="session",
            help="At the median of each group; where a number gives the colour, of each predicted label.",
        )

    shown = cached.side_rows(run, VIEWS[view][0])
    n_shown, n_drawn = len(shown), len(cached.drawn_rows(run, VIEWS[view][0], options[chosen]))
    is_sample = n_drawn < n_shown
    can_select = n_drawn <= scatter.LASSO_LIMIT
    event: Any = st.plotly_chart(
        draw(run, basis, view, options[chosen], gene=gene, names=names, dark=st.context.theme.type == "dark"),
        key=f"explore-map-{run.id}-{view}",
        on_select="rerun" if can_select else "ignore",
        selection_mode=("lasso", "box"),
        config={
            "scrollZoom": True,
            "displaylogo": False,
            "toImageButtonOptions": {"format": "png", "scale": 3, "filename": f"map-{basis}-{run.id}"},
        },
        alt=f"Map of the {BASES[basis]} latent with {n_drawn:,} cells, coloured by {gene or chosen.lower()}",
    )

    if is_sample:
        st.caption(
            f"{n_drawn:,} of {n_shown:,} cells are drawn, every label among them, and more of rare labels than their "
            "share; tables, scores and exports take all."
        )
    rows = selected_rows(event) if can_select else []
    if rows:
        of = f"{n_drawn:,} drawn" if is_sample else f"{n_shown:,} shown"
        st.subheader(f"{len(rows):,} of {of} cells", anchor=False)
        cell_list(run, cells, shown[rows], key="explore", file_name=f"selection-{run.id}.csv")
    elif can_select:
        st.caption(
            f"Circle cells with the lasso to list them and take them along as CSV{OF_SAMPLE if is_sample else ''}. "
            "A click on a name in the legend hides it, a double click shows it alone; the camera saves a PNG."
        )
    else:
        st.caption(
            f"{n_drawn:,} cells are drawn, and the lasso works up to {scatter.LASSO_LIMIT:,}: show one side alone, or "
            "choose cells by label on the Compare and Export pages."
        )
    if gene:
        counted = cached.expression(run, gene)[shown] > 0
        n_seen = f" It was counted in {int(counted.sum()):,} of the {n_shown:,} cells." if is_sample else ""
        st.caption(f"{plain(gene)}: log1p of counts per 10,000 of the cell, grey where none was counted.{n_seen}")
    if not genes:
        st.caption("This run was kept without its counts, so genes cannot be shown.")
    trust_section(run, cells)
    on_demand_section(run, cells)
