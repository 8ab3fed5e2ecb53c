"""Whether the labels of a run can be trusted: the rejection rule, calibration, and the methods side by side."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from labeltransfer.results.figures import charts
from labeltransfer.results.scores.cells import CONSENSUS
from labeltransfer.results.trust.rejection import FARTHEST, Readout, readout, rejected
from labeltransfer.runs.records.run import Run
from pages.shared import cached
from pages.shared.trust_view import METHOD_NAMES, OLD_RUN, answer, in_sentence, rejection_rule
from pages.shared.words import plain

JUDGED = ("observed_label", "predicted_label", "confidence", "distance_percentile")


def trust_section(run: Run, cells: pd.DataFrame) -> None:
    """The section of Explore: leave doubtful cells out, see the calibration, compare the methods."""
    st.subheader(
        "Can I trust these labels?",
        anchor=False,
        help="Confidence says how often such cells are right where the query resembles the reference. It does not know "
        "of labels that the reference lacks.",
    )
    trust = cached.trust(run)
    if not trust:
        st.caption(OLD_RUN)
        return
    titles = ["Leave doubtful cells out", "Calibration", "Classifiers"]
    rejection, calibration, methods = st.tabs(titles)
    with rejection:
        show_rejection(run, cells)
    with calibration:
        show_calibration(trust["methods"], answer(run))
    with methods:
        show_methods(trust)


def show_rejection(run: Run, cells: pd.DataFrame) -> None:
    """Both thresholds, and what they leave."""
    with st.container(horizontal=True):
        st.slider(
            "Reject below a confidence of",
            0.0,
            1.0,
            run.params.reject_below or 0.0,
            0.01,
            key=f"reject-confidence-{run.id}",
            persist_state="session",
            help="Calibrated probability of the predicted label.",
        )
        st.slider(
            "Reject beyond a distance percentile of",
            50.0,
            FARTHEST,
            FARTHEST,
            0.5,
            key=f"reject-distance-{run.id}",
            persist_state="session",
            help="How far a cell lies from labelled reference cells in the latent, as a percentile of the "
            "reference cells' own distances: 99 means farther than 99 % of them. Kinds of cells that the reference "
            "lacks lie far, however confident a classifier is. So does a whole query that was not well integrated.",
        )
    rule = rejection_rule(run)
    needed = [name for name in JUDGED if name in cells]  # not all columns: a million rows take long to copy
    query = cells[needed].iloc[cached.side_rows(run, ["query"])]
    found = readout(query, rule, cached.reference_labels(run))
    show_readout(found)
    if not rule.active:
        st.caption("No cell is rejected yet. What is set here holds for the download of predictions on Export too.")
        return
    out = rejected(query, rule)
    table = query.assign(out=out).groupby("predicted_label", observed=True)["out"].agg(["size", "sum", "mean"])
    st.dataframe(
        table.reset_index().sort_values("sum", ascending=False),
        hide_index=True,
        column_config={
            "predicted_label": st.column_config.TextColumn("Predicted label", pinned=True),
            "size": st.column_config.NumberColumn("Query cells", format="localized"),
            "sum": st.column_config.NumberColumn("Rejected", format="localized"),
            "mean": st.column_config.NumberColumn("Share rejected", format="percent"),
        },
        alt="Rejected query cells by predicted label",
    )
    st.caption("Rejected cells are exported as Unknown; the table of the run keeps what they were.")


def show_readout(found: Readout) -> None:
    """Coverage, expected error and, where labels were observed, the error."""
    with st.container(horizontal=True):
        st.metric(
            f"Coverage: {found.n_kept:,} of {found.n_cells:,} query cells",
            f"{found.coverage:.1%}",
            help="Query cells that keep their label.",
            border=True,
        )
        st.metric(
            "Expected error of those kept",
            per_cent(found.expected_error),
            help="One less their mean calibrated confidence. It holds as far as the query resembles the reference: "
            "labels that the reference lacks are not in it.",
            border=True,
        )
        if found.n_scored:
            st.metric(
                f"Observed to differ, of {found.n_scored:,} scored",
                per_cent(found.error),
                help="Kept cells whose observed label the reference has, and whose predicted label is another.",
                border=True,
            )


def show_calibration(methods: dict[str, Any], answer: str) -> None:
    """Reliability of the label that is handed out, before and after calibration."""
    own = methods[answer]
    if not own["n_cells"]:
        st.caption("No labelled reference cell was held out, so confidence cannot be calibrated.")
        return
    left, right = st.columns([3, 2])
    with left:
        st.altair_chart(
            charts.reliability_chart(own["before"], own["after"]),
            alt="Share of right labels against confidence, before and after calibration, with the diagonal",
        )
    with right:
        st.metric(
            f"Calibration error on {own['n_cells']:,} held-out reference cells",
            f"{own['after']['ece']:.3f}",
            delta=f"{own['after']['ece'] - own['before']['ece']:+.3f} by calibration",
            delta_color="inverse",
            help="Expected calibration error: mean gap between confidence and share of right labels. After is judged "
            "on cells that the temperature was not fitted on.",
            border=True,
        )
        words = "less sure" if own["temperature"] > 1 else "surer"
        st.caption(
            f"A temperature of {own['temperature']:.2f} makes {in_sentence(answer)} {words}; no label changes by it. "
            + (
                "It comes from queries of other studies whose labels are known: there, classifiers that differ are "
                "less sure together than they are right."
                if answer == CONSENSUS
                else "It was fitted on the reference's technology: labels of a query of another one may be less sure "
                "than they say."
            )
        )


def show_methods(trust: dict[str, Any]) -> None:
    """Each method's scores on held-out reference cells and, where labels were observed, on the query."""
    rows, voting = [], set(trust.get("voters", ()))
    for name, title in METHOD_NAMES.items():
        if name not in trust["methods"]:
            continue
        held_out, query = trust["methods"].get(name, {}), trust["query"].get(name, {})
        rows.append(
            {
                "method": title,
                "vote": name in voting,
                "held_out": held_out.get("macro_f1"),
                "ece": (held_out.get("after") or {}).get("ece"),
                "accuracy": query.get("accuracy"),
                "macro_f1": query.get("macro_f1"),
            }
        )
    n_held_out = trust["methods"]["scanvi"]["n_cells"]
    n_scored = trust["query"]["scanvi"]["n_scored"]
    table = pd.DataFrame(rows)
    st.dataframe(
        table if n_scored else table.drop(columns=["accuracy", "macro_f1"]),
        hide_index=True,
        placeholder="–",
        column_config={
            "method": st.column_config.TextColumn("Method", pinned=True),
            "vote": st.column_config.CheckboxColumn("Votes", help="Whether the consensus counts it."),
            "held_out": st.column_config.NumberColumn(
                "Held-out macro-F1, reference",
                format="%.3f",
                help=f"Over {n_held_out:,} cells that no method was trained on.",
            ),
            "ece": st.column_config.NumberColumn("Calibration error", format="%.3f", help="There, after calibration."),
            "accuracy": st.column_config.NumberColumn(
                "Accuracy, query", format="%.3f", help=f"Over {n_scored:,} scored query cells."
            ),
            "macro_f1": st.column_config.NumberColumn(
                "Macro-F1, query", format="%.3f", help=f"Over the labels of {n_scored:,} scored query cells."
            ),
        },
        alt="Scores of the methods",
    )
    for name, reason in trust.get("absent", {}).items():
        st.caption(f"{METHOD_NAMES.get(name, name)} sat out: {plain(reason)}")
    if best := trust.get("best_method"):
        st.caption(
            f"On held-out reference cells {in_sentence(best)} does best. These are of the reference's technology: the "
            "query can be another matter, and where the methods differ there, none should be trusted blindly. The "
            "consensus takes the label with the highest mean calibrated probability of those that vote; k nearest "
            "neighbours and the random forest are there to be looked at."
        )


def per_cent(value: float) -> str:
    """A share in per cent; a dash where it is not known."""
    return "–" if np.isnan(value) else f"{value:.1%}"
