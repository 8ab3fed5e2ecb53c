"""Observed against predicted labels: scores, the confusion matrix, and the cells behind a tile of it."""

from typing import Any

import pandas as pd
import streamlit as st

from labeltransfer.params import Side
from labeltransfer.results.figures import charts, confusion_matrix
from labeltransfer.results.scores.evaluate import Normalize
from labeltransfer.runs.records.run import Run
from pages.compare_parts.audit_view import audit_section
from pages.compare_parts.pair_view import show_pair
from pages.compare_parts.tile_readers import warm_up
from pages.compare_parts.verdicts import tile_verdicts, verdict_section
from pages.shared import cached
from pages.shared.edit_view import show_edits
from pages.shared.frame import catching, guard, page_header, require_run
from pages.shared.trust_view import alarm_banner
from pages.shared.words import plain

SIDES: dict[Side, str] = {"query": "Query", "reference": "Reference (scANVI was trained on these)"}
SHARES: dict[Normalize, str] = {
    "observed": "Share of observed",
    "predicted": "Share of predicted",
    "none": "Counts",
}
SCORE_COLUMNS = {
    "label": st.column_config.TextColumn("Label", pinned=True),
    "precision": st.column_config.NumberColumn(
        "Precision", format="%.3f", help="Of the scored cells given this label, the share that also has it observed."
    ),
    "recall": st.column_config.NumberColumn(
        "Recall", format="%.3f", help="Of the scored cells observed with this label, the share that was given it."
    ),
    "f1": st.column_config.NumberColumn("F1", format="%.3f", help="Harmonic mean of precision and recall."),
    "support": st.column_config.NumberColumn(
        "Support", format="localized", help="Scored cells observed with this label: the denominator of recall."
    ),
    "n_predicted": st.column_config.NumberColumn(
        "Predicted", format="localized", help="All cells of this side that were given this label, scored or not."
    ),
}


def show_scores(scores: dict[str, Any], side: Side) -> None:
    """Accuracy and macro-F1 with what they are taken over."""
    n_cells, n_scored = scores["n_cells"], scores["n_scored"]
    missing = scores["labels_missing_in_reference"]
    with st.container(horizontal=True):
        st.metric(
            f"Accuracy: {scores['n_correct']:,} of {n_scored:,} cells",
            f"{scores['accuracy']:.1%}",
            help="Cells whose predicted label is the observed one, of the scored cells: those with an observed label "
            "that the reference has.",
            border=True,
        )
        st.metric(
            f"Macro-F1: mean over {scores['n_labels']} labels",
            f"{scores['macro_f1']:.3f}",
            help="F1 of each label, every label weighing the same however rare it is, over the labels that scored "
            "cells have.",
            border=True,
        )
        st.metric(
            f"Scored, of {n_cells:,} {side} cells",
            f"{n_scored:,}",
            help=f"{scores['n_unlabelled']:,} cells have no observed label, and {sum(missing.values()):,} have one "
            "that the reference lacks; neither can be right or wrong.",
            border=True,
        )
    if missing:
        listed = ", ".join(f"{plain(label)} ({n:,})" for label, n in missing.items())
        st.caption(f"Observed in the {side}, but not in the reference, so never predicted and not scored: {listed}.")


def show_unlabelled(run: Run, query: pd.DataFrame) -> None:
    """What can be seen without observed labels: how many cells got which label, and how surely."""
    left, right = st.columns(2)
    with left:
        st.subheader("Composition", anchor=False, help="Query cells by predicted label.")
        st.altair_chart(
            charts.composition_chart(query, cached.colours(run)), alt="Bars of query cells by predicted label"
        )
    with right:
        st.subheader(
            "Confidence", anchor=False, help="scANVI's probability of the predicted label, over all query cells."
        )
        st.altair_chart(charts.confidence_chart(query), alt="Histogram of the confidence of query cells")
    by_label = query.assign(sure=query["confidence"] >= 0.9).groupby("predicted_label", observed=True)
    table = pd.DataFrame(
        {
            "Cells": by_label.size(),
            "Median confidence": by_label["confidence"].median(),
            "Confidence at least 0.9": by_label["sure"].mean(),
        }
    )
    st.dataframe(
        table.rename_axis("Predicted label").reset_index().sort_values("Cells", ascending=False),
        hide_index=True,
        column_config={
            "Cells": st.column_config.NumberColumn(format="localized"),
            "Median confidence": st.column_config.NumberColumn(format="%.3f"),
            "Confidence at least 0.9": st.column_config.NumberColumn(format="percent", help="Share of these cells."),
        },
        alt="Cells and confidence by predicted label",
    )


guard()
page_header("Compare", "compare")
run = require_run("evaluate")

with catching():
    alarm_banner(run)
    cells = cached.cells(run)
    scores = cached.metrics(run)
    n_query, n_unlabelled = scores["query"]["n_cells"], scores["query"]["n_unlabelled"]
    labelled = n_unlabelled < n_query
    if not labelled:
        st.info(
            f"None of the {n_query:,} query cells has an observed label, so nothing can be compared. What can be "
            "seen is how many cells got which label, and how sure scANVI was.",
            icon=":material/label_off:",
        )
        show_unlabelled(run, cells.loc[cells["side"] == "query", ["predicted_label", "confidence"]])
        if not st.toggle(
            "Show the reference cells instead",
            help="How well scANVI fits the cells that it was trained on; not how well it predicts.",
            key="compare-fit",
        ):
            st.stop()

    with st.container(horizontal=True):
        side: Side = "reference"
        if labelled:
            side = st.segmented_control(
                "Cells",
                list(SIDES),
                default="query",
                format_func=lambda key: SIDES[key],
                required=True,
                key="compare-side",
                help="scANVI has seen the labels of the reference cells: their scores say how well it fits.",
            )
        normalize: Normalize = st.segmented_control(
            "Tiles show",
            list(SHARES),
            default="observed",
            format_func=lambda key: SHARES[key],
            required=True,
            key="compare-normalize",
            persist_state="session",
            help="Shares of a row (cells with the observed label), of a column (with the predicted one), or counts.",
        )
        by_verdict = st.toggle(
            "Colour by verdict",
            key="compare-verdict",
            persist_state="session",
            help="How a predicted label stands to the observed one in the Cell Ontology: the same, a kind of it, more "
            "general, a near relative, or unrelated.",
        )
    if side == "reference":
        st.warning(
            "scANVI was trained on these cells with their labels: the numbers say how well it fits, not how well it "
            "predicts.",
            icon=":material/school:",
        )
    if scores[side]["n_scored"]:
        show_scores(scores[side], side)
    else:
        st.info(
            "No query cell has an observed label that the reference has, so there is no accuracy: the matrix shows "
            "what became of the labels.",
            icon=":material/info:",
        )

    table = cached.confusion(run, side=side, normalize=normalize)
    st.subheader(
        "Confusion matrix",
        anchor=False,
        help="Every cell with an observed label. In outlined tiles both labels agree. The menu at the chart's corner "
        "saves it as PNG.",
    )
    what = {"observed": "per cent of a row's cells", "predicted": "per cent of a column's cells", "none": "cells"}
    written = table["predicted_label"].nunique() <= confusion_matrix.MOST_COLUMNS_WITH_TEXT
    st.caption(
        f"Rows: observed label. Columns: predicted label. {'Numbers' if written else 'On hover'}: {what[normalize]}. "
        "Click a tile to see its cells."
    )
    event = st.altair_chart(
        cached.confusion_chart(
            run,
            side=side,
            normalize=normalize,
            dark=st.context.theme.type == "dark",
            verdicts=tile_verdicts(run, table) if by_verdict else (),
        ),
        on_select="rerun",
        selection_mode="cell",
        key=f"compare-matrix-{run.id}-{side}-{normalize}{'-verdict' * by_verdict}",
        alt=f"Confusion matrix of {table['n_cells'].sum():,} {side} cells: observed in rows, predicted in columns",
    )
    picked = event["selection"].get("cell") or []
    if picked:
        show_pair(run, cells, side, picked[0]["observed_label"], picked[0]["predicted_label"])
    show_edits(run, len(cells))

    st.subheader(
        "Scores by label",
        anchor=False,
        help="A dash stands where there is nothing to divide by: no scored cell has the label, or none was given it.",
    )
    rows = cached.per_label(run, side=side)
    st.dataframe(
        rows.sort_values("support", ascending=False),
        hide_index=True,
        column_config=SCORE_COLUMNS,
        placeholder="–",
        height=min(38 + 35 * len(rows), 700),
        alt=f"Precision, recall, F1 and support of {len(rows)} labels",
    )
    if side == "query":
        verdict_section(run, cached.reference_labels(run))
        audit_section(run, cells)
    warm_up(run)
