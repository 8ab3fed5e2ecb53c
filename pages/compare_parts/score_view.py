"""Scores of a side, and what can be seen where no label was observed."""

from typing import Any

import pandas as pd
import streamlit as st

from labeltransfer.params import Side
from labeltransfer.results.figures import charts
from labeltransfer.runs.records.run import Run
from pages.shared import cached
from pages.shared.words import plain

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
