"""Choice of the predictions that are exported as CSV."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from labeltransfer.results.export import predictions
from labeltransfer.results.export.safe_csv import to_csv
from labeltransfer.results.levels.in_words import coverage_words, promise_words
from labeltransfer.results.scores.final_labels import Edit, deciding
from labeltransfer.results.trust.rejection import FARTHEST
from labeltransfer.runs.records.run import Run
from pages.shared import cached
from pages.shared.cached import cells_file, reader
from pages.shared.trust_view import answer, in_sentence, rejection_rule

PREVIEW_ROWS = 200


def show_predictions(run: Run) -> None:
    """Predictions of the query as CSV, all or filtered."""
    cells = cached.cells(run)
    query = cached.side_rows(run, ["query"])
    labels = label_counts(run)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.multiselect(
            "Predicted label",
            list(labels),
            format_func=lambda label: f"{label} ({labels[label]:,})",
            placeholder="All labels",
            key=f"export-labels-{run.id}",
        )
        least = st.slider(
            "Confidence at least",
            0.0,
            1.0,
            0.0,
            0.01,
            key=f"export-confidence-{run.id}",
            help="Calibrated probability of the predicted label.",
            width=280,
        )
    st.caption(
        f"predicted_label is that of {in_sentence(answer(run))}; each method's own is in a column of its own, and "
        "agreement counts those that say the same."
    )
    trust = cached.trust(run)
    if "label_level" in cells and "levels" in trust:
        st.caption(
            "label is the finest one that is sure enough: "
            f"{coverage_words(cells['label_level'].iloc[query])} {promise_words(trust)}"
        )
    edits, rule = cached.edits(run), rejection_rule(run)
    offered = partial(predictions.predictions, cells, run.id, rule=rule, edits=edits)
    keep = cells["confidence"].to_numpy()[query] >= least
    if wanted:
        keep &= cells["predicted_label"].isin(wanted).to_numpy()[query]
    rows = query[keep]
    st.dataframe(
        offered(rows=rows[:PREVIEW_ROWS]),
        hide_index=True,
        height=250,
        column_config={
            "confidence": st.column_config.NumberColumn(format="%.3f"),
            "second_confidence": st.column_config.NumberColumn(format="%.3f"),
        },
        alt="First rows of the predictions",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            f"Download {len(rows):,} predictions as CSV",
            lambda: to_csv(offered(rows=rows)),
            file_name=f"predictions-{run.id}.csv",
            mime="text/csv",
            type="primary",
            icon=":material/download:",
            on_click="ignore",
            disabled=not len(rows),
            key="export-csv",
        )
        preview = f"; the first {PREVIEW_ROWS} are shown" if len(rows) > PREVIEW_ROWS else ""
        st.caption(f"{len(rows):,} of {len(query):,} query cells{preview}.")
    edits_caption(edits, len(cells))
    if rule.active:
        far = f" or lies beyond the {rule.distance:g}th percentile of distances" if rule.distance < FARTHEST else ""
        st.caption(
            f"A cell whose confidence is below {rule.confidence:.2f}{far} is exported as Unknown, with its label in "
            "the column rejected_label. Explore is where this is set."
        )


@reader(cells_file, max_entries=32)
def label_counts(run: Run) -> dict[str, int]:
    """Query cells by predicted label, the largest first."""
    cells = cached.cells(run)
    counts = cells.loc[cells["side"] == "query", "predicted_label"].value_counts()
    return {str(label): int(n) for label, n in counts.items() if n}


def edits_caption(edits: Sequence[Edit], n_cells: int) -> None:
    """Say next to a download what edits do to it."""
    if edits:
        n_edited = int((deciding(edits, n_cells) >= 0).sum())
        st.caption(
            f"{len(edits)} {'edit decides' if len(edits) == 1 else 'edits decide'} about {n_edited:,} of {n_cells:,} "
            "cells of both sides: the column final_label has the outcome; edit, edit_action and edited_by say whose "
            "it is. They are listed, and undone, on Compare."
        )
