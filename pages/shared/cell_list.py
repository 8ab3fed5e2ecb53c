"""Some cells as a table with a CSV of all of them, as several pages show it."""

import numpy as np
import pandas as pd
import streamlit as st

from labeltransfer.results.export import predictions
from labeltransfer.results.export.safe_csv import to_csv
from labeltransfer.results.scores.cells import OBS_PREFIX
from labeltransfer.results.scores.final_labels import deciding, final_labels
from labeltransfer.runs.records.run import Run
from pages.shared import cached

ROW_LIMIT = 5_000
"""Rows that travel to the browser; the CSV has all."""

_COLUMNS = {
    "cell_id": st.column_config.TextColumn("Cell", pinned=True),
    "side": st.column_config.TextColumn("Side"),
    "observed_label": st.column_config.TextColumn("Observed label"),
    "predicted_label": st.column_config.TextColumn("Predicted label"),
    "confidence": st.column_config.ProgressColumn(
        "Confidence", help="Calibrated probability of the predicted label.", min_value=0, max_value=1, format="percent"
    ),
    "second_label": st.column_config.TextColumn("Runner-up"),
    "second_confidence": st.column_config.NumberColumn(
        "Its probability", help="Calibrated probability of the runner-up.", format="percent"
    ),
    "technology": st.column_config.TextColumn("Technology"),
    "batch": st.column_config.TextColumn("Batch"),
    "n_counts": st.column_config.NumberColumn("Counts", help="Counts of the cell after preparation.", format="%.0f"),
    "n_genes": st.column_config.NumberColumn("Genes", help="Shared genes with at least one count.", format="%.0f"),
}

_EDIT_COLUMNS = {
    "final_label": st.column_config.TextColumn("Final label", help="After all edits; empty where excluded."),
    "edit": st.column_config.TextColumn("Edit"),
    "edit_action": st.column_config.TextColumn("What it did"),
    "edited_by": st.column_config.TextColumn("Edited by"),
}


def cell_list(run: Run, cells: pd.DataFrame, rows: np.ndarray, *, key: str, file_name: str) -> None:
    """Show some rows of the table of cells, the surest predictions first, and offer all of them as CSV."""
    surest = np.argsort(-cells["confidence"].to_numpy()[rows], kind="stable")[:ROW_LIMIT]
    inputs = [name for name in cells.columns if name.startswith(OBS_PREFIX)]
    shown = cells[[*_COLUMNS, *inputs]].iloc[rows[surest]]
    edits = cached.edits(run)
    if edits:
        decided = deciding(edits, len(cells))[rows[surest]]
        shown = pd.concat([shown, final_labels(shown["predicted_label"], edits, decided)], axis=1)
    # Else every category of the run would travel to the browser with each table.
    few = {name: shown[name].cat.remove_unused_categories() for name in shown.columns[shown.dtypes == "category"]}
    st.dataframe(
        shown.assign(**few),
        hide_index=True,
        height=min(38 + 35 * max(len(shown), 1), 320),
        column_config={**_COLUMNS, **_EDIT_COLUMNS, **{name: name.removeprefix(OBS_PREFIX) for name in inputs}},
        alt=f"Table of {len(shown):,} cells with their labels and confidence",
        key=f"{key}-table",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            f"Download {len(rows):,} cells as CSV",
            lambda: to_csv(predictions.predictions(cells, run.id, side=None, rows=rows, edits=edits)),
            file_name=file_name,
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            key=f"{key}-csv",
        )
        if len(rows) > len(shown):
            st.caption(f"The table shows the {len(shown):,} surest; the CSV has all.")
