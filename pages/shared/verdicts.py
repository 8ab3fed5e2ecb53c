"""Observed and predicted labels in the Cell Ontology: verdicts in the matrix, scores, and mending by hand."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from labeltransfer import home
from labeltransfer.results import ontology, relations
from labeltransfer.results.ontology import Term
from labeltransfer.runs.run import Run
from pages.shared import cached
from pages.shared.words import plain

BY_HAND = "terms_by_hand.json"
"""Label to id of the Cell Ontology as somebody mended it, beside the run's other files."""

MEANINGS = {
    "exact": "the same term",
    "more specific": "the prediction is a kind of the observed label",
    "more general": "the observed label is a kind of the prediction",
    "sibling": "both are near kinds of one term",
    "unrelated": "none of these",
    relations.UNMAPPED: "one of the labels is no known term",
}


def terms_of(run: Run) -> dict[str, Term]:
    """What a run's labels mean, mended ones as they were mended."""
    return _terms(cached.cells(run), run.id, run.artefact("evaluate", "cells.parquet").stat().st_mtime_ns, mended(run))


@st.cache_data(max_entries=32, show_spinner=False)
def _terms(_cells: pd.DataFrame, run_id: str, stamp: int, by_hand: Mapping[str, str]) -> dict[str, Term]:
    return ontology.find_terms(_cells, by_hand=by_hand)


def mended(run: Run) -> dict[str, str]:
    """Ids that somebody gave labels by hand; none where the file is not there or damaged."""
    try:
        found = json.loads((run.folder / BY_HAND).read_text())
    except (OSError, ValueError):
        return {}
    return {str(label): str(term) for label, term in found.items()} if isinstance(found, dict) else {}


def tile_verdicts(run: Run, table: pd.DataFrame) -> list[str]:
    """Verdict of each row of a confusion table."""
    found = ontology.verdicts(terms_of(run), table["observed_label"], table["predicted_label"])
    return [verdict or relations.UNMAPPED for verdict in found]


def verdict_section(run: Run, known: list[str]) -> None:
    """Scores that take a finer label for right, at a level of choice, and the terms behind them."""
    st.subheader(
        "In the Cell Ontology",
        anchor=False,
        help="The ontology knows which cell types are kinds of which. Labels are looked up by the id that came with "
        "them, else by name or synonym. Only 'is a kind of' is followed: a progenitor is no kind of what it becomes.",
    )
    terms = terms_of(run)
    pairs = relations.pair_verdicts(cached.cells(run)[["side", "observed_label", "predicted_label"]], terms)
    scores = relations.ontology_scores(pairs, terms, known)
    show_scores(run, scores, pairs, terms)
    unmapped = [label for label, term in terms.items() if not term.id]
    with st.expander(f"{len(terms)} labels, {len(unmapped)} of them without a term", icon=":material/account_tree:"):
        mend(run, terms)


def show_scores(run: Run, scores: Mapping[str, Any], pairs: pd.DataFrame, terms: Mapping[str, Term]) -> None:
    """Accuracy with finer labels right, what the differing labels are, and accuracy at a coarser level."""
    levels = ontology.common_levels(terms)
    chosen = st.multiselect(
        "Compare at the level of",
        list(levels),
        format_func=lambda term: levels[term],
        placeholder="The labels themselves",
        key=f"verdict-levels-{run.id}",
        help="Both labels are rolled up to the nearest of these terms before they are compared.",
    )
    with st.container(horizontal=True):
        st.metric(
            f"Right, finer labels too: {scores['n_right']:,} of {scores['n_scored']:,} cells",
            "–" if scores["accuracy"] is None else f"{scores['accuracy']:.1%}",
            help="Over the query cells whose observed label the reference has or has kinds of. A prediction that is a "
            "kind of the observed label counts as right.",
            border=True,
        )
        if scores["n_differ"]:
            st.metric(
                f"Of {scores['n_differ']:,} cells whose label differs",
                f"{scores['n_finer'] / scores['n_differ']:.1%} finer",
                help="Predictions that are a kind of the observed label, of all that differ from it and whose labels "
                "are known terms: how far the transferred labels are subsets of the observed ones.",
                border=True,
            )
        if chosen:
            rolled = relations.scores_at_level(pairs, terms, set(chosen))
            st.metric(
                f"At that level: {rolled['n_right']:,} of {rolled['n_scored']:,} cells",
                "–" if rolled["accuracy"] is None else f"{rolled['accuracy']:.1%}",
                help="Over the cells whose observed and predicted label are both kinds of a chosen term.",
                border=True,
            )
    told = [f"{n:,} {verdict} ({MEANINGS[verdict]})" for verdict, n in scores["verdicts"].items() if n]
    st.caption(f"Query cells with an observed label by verdict: {'; '.join(told)}.")


def mend(run: Run, terms: Mapping[str, Term]) -> None:
    """The terms of all labels; an id can be changed or taken away."""
    shown = pd.DataFrame(
        [{"label": label, "id": term.id, "name": term.name, "source": term.source} for label, term in terms.items()]
    )
    edited = st.data_editor(
        shown.sort_values(["id", "label"], ignore_index=True),
        hide_index=True,
        disabled=["label", "name", "source"],
        key=f"verdict-terms-{run.id}-{len(mended(run))}",
        column_config={
            "label": st.column_config.TextColumn("Label"),
            "id": st.column_config.TextColumn(
                "Cell Ontology id", validate=r"^(CL:\d{7})?$", help="Such as CL:0000084."
            ),
            "name": st.column_config.TextColumn("Name there"),
            "source": st.column_config.TextColumn("Found by"),
        },
    )
    before = {label: term.id for label, term in terms.items()}
    changed = {
        label: term or ""
        for label, term in zip(edited["label"], edited["id"], strict=True)
        if (term or "") != before[label]
    }
    with st.container(horizontal=True):
        if st.button("Keep these ids", disabled=not changed, icon=":material/save:", key="verdict-keep"):
            unknown = [term for term in changed.values() if term and not ontology.is_term(term)]
            if unknown:
                st.error(f"{plain(unknown[0])} is no term of the Cell Ontology: look it up and correct it.")
            else:
                _keep(run, mended(run) | changed)
        if mended(run) and st.button("Back to what was found", icon=":material/undo:", key="verdict-undo"):
            _keep(run, {})


def _keep(run: Run, by_hand: dict[str, str]) -> None:
    try:
        home.write_json(run.folder / BY_HAND, by_hand)
    except OSError as error:
        st.error(f"The ids cannot be kept beside this run ({error.strerror}).")
        return
    st.rerun()
