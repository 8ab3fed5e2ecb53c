"""Figures as HTML files."""

from functools import partial

import streamlit as st

from labeltransfer.results.figures.confusion_matrix import confusion_heatmap
from labeltransfer.results.figures.scatter import Basis, scatter
from labeltransfer.runs.records.run import Run
from pages.export_parts.writers import offer
from pages.shared import cached

BASES: dict[Basis, str] = {"scanvi": "scANVI", "scvi": "scVI"}


def show_figures(run: Run) -> None:
    """Maps and confusion matrix as HTML files that need nothing else."""
    basis: Basis = st.segmented_control(
        "Map of",
        [basis for basis in BASES if run.params.mapping is None or basis == "scanvi"],
        default="scanvi",
        format_func=lambda key: BASES[key],
        required=True,
        key="export-basis-mapped" if run.params.mapping else "export-basis",
    )
    with st.container(horizontal=True):
        for column, name in (("predicted_label", "predicted"), ("observed_label", "observed")):
            offer(
                f"Map by {name} label",
                partial(map_html, run, basis, column),
                f"map-{basis}-{name}-{run.id}.html",
            )
        scores = cached.metrics(run)["query"]
        if scores["n_unlabelled"] < scores["n_cells"]:
            offer("Confusion matrix", lambda: confusion_html(run), f"confusion-{run.id}.html")
    st.caption(
        "Each opens in any browser, without a network; maps hold all cells. For a PNG use the camera at the corner of "
        "the map on Explore, and the menu at the corner of the matrix on Compare."
    )


def map_html(run: Run, basis: Basis, column: str) -> str:
    """Both sides' map as one HTML page."""
    cells = cached.cells(run)
    figure = scatter(cells, cells[column], basis=basis, colours=cached.colours(run), names=cells[column])
    return figure.to_html(include_plotlyjs=True)


def confusion_html(run: Run) -> str:
    """The query's confusion matrix as one HTML page."""
    table = cached.confusion(run, side="query", normalize="observed")
    return confusion_heatmap(table, title=f"Query cells, run {run.id}").to_html(include_plotlyjs=True)
