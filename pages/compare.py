"""Observed against predicted labels: scores, the confusion matrix, and the cells behind a tile of it."""

import streamlit as st

from labeltransfer.params import Side
from labeltransfer.results.figures import confusion_matrix
from labeltransfer.results.scores.evaluate import Normalize
from pages.compare_parts.audit_view import audit_section
from pages.compare_parts.edit_view import show_edits
from pages.compare_parts.pair_view import show_pair
from pages.compare_parts.score_view import SCORE_COLUMNS, show_scores, show_unlabelled
from pages.compare_parts.tile_readers import warm_up
from pages.compare_parts.verdicts import tile_verdicts, verdict_section
from pages.shared import cached
from pages.shared.frame import catching, guard, page_header, require_run
from pages.shared.trust_view import alarm_banner

SIDES: dict[Side, str] = {"query": "Query", "reference": "Reference (scANVI was trained on these)"}
SHARES: dict[Normalize, str] = {
    "observed": "Share of observed",
    "predicted": "Share of predicted",
    "none": "Counts",
}


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
            help="How a predicted label relates to the observed one in the Cell Ontology: the same, a kind of it, more "
            "general, one that develops into the other, a near relative, or unrelated.",
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
        help="A dash means that there is nothing to divide by: no scored cell has the label, or none was given it.",
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
