"""The label audit on Compare: observed labels that their own cells contradict, and what to do about them."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from labeltransfer.errors import RunError
from labeltransfer.results.audit import corrections
from labeltransfer.results.export.safe_csv import to_csv
from labeltransfer.results.figures.scatter import highlight
from labeltransfer.results.maps import sampling
from labeltransfer.runs.records import relabelling
from labeltransfer.runs.records.audit_files import read_audit
from labeltransfer.runs.records.checksums import require_whole
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import SHIPPED_STAYS, is_shipped
from pages.door.sign_in import visitor
from pages.shared import cached
from pages.shared.cached import reader, the_path
from pages.shared.cell_list import cell_list
from pages.shared.visible_runs import changeable, whose_to_change
from pages.shared.words import plain

KINDS = {
    "swap": "Swapped",
    "mislabelled": "Whole class under another's name",
    "merged": "Two kinds under one name",
    "split": "One kind under two names",
    "cells": "Single cells",
}
COLUMNS = {
    "observed_label": st.column_config.TextColumn("Observed label", pinned=True),
    "kind": st.column_config.TextColumn(
        "Suspicion",
        help="Swapped: these cells carry another label, and that label's cells carry theirs, in a pair or a cycle. "
        "Whole class under another's name: one way only. Two kinds under one name: part of the class is a label that "
        "no class of the query has. One kind under two names: part of it belongs to another class of the query. "
        "Single cells: the class is sound, some of its cells are not.",
    ),
    "partner_label": st.column_config.TextColumn("Its cells carry", help="The label that the evidence points to."),
    "score": st.column_config.ProgressColumn(
        "Strength", help="Of the evidence, 0 to 1; no probability.", min_value=0, max_value=1, format="%.2f"
    ),
    "n_cells": st.column_config.NumberColumn("Cells", help="Query cells that it is about.", format="localized"),
    "evidence": st.column_config.TextColumn("Evidence", width="large"),
}
LOOKED_AT = (
    "Looked at were, for each observed label and each of its cells: what four methods trained on the reference call "
    "them, which labels their nearest query cells have in the scVI latent, and on which side they are of the genes "
    "that separate two labels in the reference."
)


def audit_section(run: Run, cells: pd.DataFrame) -> None:
    """The whole section; ``cells`` is the table of cells of a run whose query has observed labels."""
    st.subheader(
        "Label audit",
        anchor=False,
        help="Observed labels of the query that their own cells contradict. No method has seen these labels. Labels "
        "that the reference lacks, or that are only coarser or finer than its own, are no errors and are left out.",
    )
    table = audit_table(run)
    if table is None or "audited_label" not in cells:
        st.caption(corrections.OLD_TABLE)
        return
    if table.empty:
        n_cells = int(((cells["side"] == "query") & cells["observed_label"].notna()).sum())
        st.success("No observed label is contradicted by its own cells.", icon=":material/check_circle:")
        st.caption(f"{LOOKED_AT} {n_cells:,} query cells have an observed label.")
        return
    st.caption(f"{LOOKED_AT} A suspicion is no proof: read the evidence. Click a row to see its cells.")
    event = st.dataframe(
        table.assign(kind=table["kind"].map(KINDS)),
        hide_index=True,
        column_config=COLUMNS,
        on_select="rerun",
        selection_mode="single-row",
        key=f"audit-table-{run.id}",
        alt=f"Table of {len(table)} suspected observed labels with their evidence",
    )
    st.download_button(
        "Download audit.csv",
        lambda: to_csv(table),
        file_name="audit.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="audit-csv",
    )
    picked = event["selection"]["rows"]
    if picked and picked[0] < len(table):
        show_suspicion(run, cells, table, picked[0])
    show_layers(run, cells, table)


def audit_table(run: Run) -> pd.DataFrame | None:
    """The audit of a finished run; None for a run that is older than it."""
    try:
        path = run.artefacts.audit
    except RunError:
        return None
    return _audit(path)


@reader(the_path, max_entries=32)
def _audit(path: Path) -> pd.DataFrame:
    return read_audit(require_whole(path))


def show_suspicion(run: Run, cells: pd.DataFrame, table: pd.DataFrame, row: int) -> None:
    """The cells that a row is about, on the map and as a table, with the evidence in full."""
    found = table.iloc[row]
    chosen = corrections.cells_of(cells, table, row)
    rows = np.flatnonzero(chosen)
    st.markdown(
        f"**{len(rows):,} query cells called {plain(found['observed_label'])}, suspected to be "
        f"{plain(found['partner_label'])}**"
    )
    st.caption(plain(found["evidence"]))
    if not len(rows):
        return
    left, right = st.columns([2, 3])
    with left:
        drawn = sampling.with_chosen(
            cached.drawn_rows(run, ["query", "reference"]), chosen, n_most=sampling.MOST_DRAWN // 2
        )
        part = cells.iloc[drawn]
        st.plotly_chart(
            highlight(
                part,
                chosen[drawn],
                part["audited_label"],
                colours=cached.colours(run),
                n_others=len(cells) - len(rows),
            ),
            key="audit-map",
            config={"displaylogo": False, "scrollZoom": True},
            alt=f"scANVI map with {int(chosen[drawn].sum()):,} of these {len(rows):,} cells, coloured by the label "
            "that the evidence points to, and others in grey",
        )
    with right:
        cell_list(run, cells, rows, key="audit-cells", file_name=f"{run.id}-audit-cells.csv")


def show_layers(run: Run, cells: pd.DataFrame, table: pd.DataFrame) -> None:
    """Keep corrections as a named layer, compare the scores, remove it again."""
    own = changeable(run) and not is_shipped(run)
    if own:
        apply_form(run, table)
    elif is_shipped(run):
        st.caption(SHIPPED_STAYS)
    else:
        st.caption(f"Corrections are kept with the run, for everyone who opens it. {plain(whose_to_change(run))}")
    for number, layer in enumerate(relabelling.layers(run.folder)):
        audited = corrections.relabelled(cells, table, corrections.rows_of(layer, table))
        scores = corrections.side_by_side(cells, audited)
        with st.container(border=True):
            st.markdown(f"**Layer {plain(layer.name)}**: {scores['n_changed'].iloc[1]:,} query cells relabelled")
            st.dataframe(
                scores,
                hide_index=True,
                placeholder="–",
                column_config={
                    "labels": st.column_config.TextColumn("Scored against", pinned=True),
                    "accuracy": st.column_config.NumberColumn("Accuracy", format="percent"),
                    "macro_f1": st.column_config.NumberColumn("Macro-F1", format="%.3f"),
                    "n_correct": st.column_config.NumberColumn("Right", format="localized"),
                    "n_scored": st.column_config.NumberColumn(
                        "Scored cells", format="localized", help="Query cells whose label the reference has."
                    ),
                    "n_changed": st.column_config.NumberColumn("Relabelled", format="localized"),
                },
                alt="Scores of scANVI against published and against audited labels",
            )
            st.caption(
                "The audited labels were found with the help of these predictions, so a higher score against them is "
                "no independent proof."
            )
            with st.container(horizontal=True):
                st.download_button(
                    "Download the layer as CSV",
                    partial(_layer_csv, cells, audited),
                    file_name=f"{run.id}-audited-labels.csv",
                    mime="text/csv",
                    icon=":material/download:",
                    on_click="ignore",
                    key=f"audit-layer-csv-{number}",
                )
                if own and st.button("Remove this layer", icon=":material/delete:", key=f"audit-remove-{number}"):
                    relabelling.remove_layer(run.folder, layer.name, by=visitor().name)
                    st.rerun()


def apply_form(run: Run, table: pd.DataFrame) -> None:
    """Choose corrections and keep them as a layer."""
    titles = {
        place: f"{row.observed_label} → {row.partner_label} ({row.n_cells:,} cells)"
        for place, row in enumerate(table.itertuples(index=False))
    }
    with st.form(f"audit-apply-{run.id}", border=True):
        chosen = st.multiselect(
            "Corrections", list(titles), default=list(titles), format_func=lambda place: titles[place], key="audit-rows"
        )
        name = st.text_input("Name of the layer", "audited", max_chars=relabelling.LONGEST_NAME, key="audit-name")
        if st.form_submit_button("Apply this relabelling", icon=":material/edit:"):
            relabelling.keep_layer(run.folder, name, table, chosen, by=visitor().name)
        st.caption(
            "A layer is kept next to the observed labels and never overwrites them. One of the same name is replaced."
        )


def _layer_csv(cells: pd.DataFrame, audited: pd.Series) -> str:
    return to_csv(layer_table(cells, audited))


def layer_table(cells: pd.DataFrame, audited: pd.Series) -> pd.DataFrame:
    """Query cells with the published and the audited label, for download."""
    is_query = (cells["side"] == "query").to_numpy()
    return cells.loc[is_query, ["cell_id", "observed_label"]].assign(audited_label=audited[is_query])
