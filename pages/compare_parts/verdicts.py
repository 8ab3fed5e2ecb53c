"""Observed and predicted labels in the Cell Ontology: verdicts in the matrix, scores, and fixing by hand."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from labeltransfer.results.ontology import levels, relations
from labeltransfer.results.ontology.terms import Term, find_terms, search_texts, term_name
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import SHIPPED_STAYS, is_shipped
from labeltransfer.runs.records.term_overrides import override_terms, term_overrides, undo_override
from pages.shared import cached
from pages.shared.cached import cells_file, reader
from pages.shared.frame import catching
from pages.shared.visible_runs import changeable, whose_to_change
from pages.shared.words import plain

AS_LABELLED, OWN_LEVEL = "The labels themselves", "Terms of my choice"

MEANINGS = {
    "exact": "the same term",
    "more specific": "the prediction is a kind of the observed label",
    "more general": "the observed label is a kind of the prediction",
    "develops into": "one of the two develops into the other",
    "sibling": "both are near kinds of one term",
    "unrelated": "none of these",
    relations.UNMAPPED: "one of the labels is no known term",
}


def terms_of(run: Run) -> dict[str, Term]:
    """What a run's labels mean, fixed ones as they were fixed."""
    return _terms(run, term_overrides(run.folder))


@reader(cells_file, max_entries=32)
def _terms(run: Run, by_hand: Mapping[str, str]) -> dict[str, Term]:
    return find_terms(cached.cells(run), by_hand=by_hand)


@reader(cells_file, max_entries=32)
def _pairs(run: Run, by_hand: Mapping[str, str]) -> pd.DataFrame:
    labels = cached.cells(run)[["side", "observed_label", "predicted_label"]]
    return relations.pair_verdicts(labels, _terms(run, by_hand))


def tile_verdicts(run: Run, table: pd.DataFrame) -> list[str]:
    """Verdict of each row of a confusion table."""
    found = relations.verdicts(terms_of(run), table["observed_label"], table["predicted_label"])
    return [verdict or relations.UNMAPPED for verdict in found]


def verdict_section(run: Run, known: list[str]) -> None:
    """Scores that take a finer label for right, at a level of choice, and the terms behind them."""
    st.subheader(
        "In the Cell Ontology",
        anchor=False,
        help="The ontology knows which cell types are kinds of which, and which become which. Labels are looked up by "
        "the id that came with them, else by name, abbreviation or synonym. Only a kind of a label counts as right: a "
        "progenitor is no kind of what it becomes.",
    )
    with catching():  # what cannot be read here takes nothing else off the page
        terms = terms_of(run)
        pairs = _pairs(run, term_overrides(run.folder))
        level = choose_level(run, terms)
        judged = levels.at_level(pairs, terms, known, level) if level else (pairs, terms, known)
        show_scores(relations.ontology_scores(*judged))
        n_without = sum(not term.id for term in terms.values())
        with st.expander(f"{len(terms)} labels, {n_without} of them without a term", icon=":material/account_tree:"):
            fix_terms(run, terms)


def choose_level(run: Run, terms: Mapping[str, Term]) -> set[str]:
    """Ask for the terms that labels are rolled up to before they are compared; none keeps them as they are."""
    sets, offered = levels.level_sets(terms), levels.common_levels(terms)
    if not offered:
        return set()
    chosen = st.selectbox(
        "Compare at the level of",
        [AS_LABELLED, *sets, OWN_LEVEL],
        format_func=lambda name: f"{name}: {', '.join(map(term_name, sets[name]))}" if name in sets else name,
        key=f"verdict-level-{run.id}",
        help="Labels that are kinds of one of these terms count as that term; others stay as they are.",
    )
    if chosen != OWN_LEVEL:
        return set(sets.get(chosen, ()))
    return set(
        st.multiselect(
            "Terms",
            list(offered),
            format_func=lambda term: offered.get(term, term),
            placeholder="Choose terms",
            key=f"verdict-levels-{run.id}",
            help="Both labels are rolled up to the nearest of these terms before they are compared.",
        )
    )


def show_scores(scores: Mapping[str, Any]) -> None:
    """Accuracy, strict and with finer labels right, and what the differing labels are."""
    strict = scores["strict"]
    with st.container(horizontal=True):
        st.metric(
            f"The same: {strict['n_right']:,} of {strict['n_scored']:,} cells",
            "–" if strict["accuracy"] is None else f"{strict['accuracy']:.1%}",
            help="Over the query cells whose observed label the reference has, if by another name. Right is the same "
            "label, or another name of its term.",
            border=True,
        )
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
    counted = [f"{n:,} {verdict} ({MEANINGS[verdict]})" for verdict, n in scores["verdicts"].items() if n]
    st.caption(f"Query cells with an observed label by verdict: {'; '.join(counted)}.")


def fix_terms(run: Run, terms: Mapping[str, Term]) -> None:
    """The terms of all labels; the term of one can be set or taken away, and each change undone."""
    shown = pd.DataFrame(
        [{"label": label, "id": term.id, "name": term.name, "source": term.source} for label, term in terms.items()]
    )
    st.dataframe(
        shown.sort_values(["id", "label"]),
        hide_index=True,
        column_config={
            "label": st.column_config.TextColumn("Label", pinned=True),
            "id": "Cell Ontology id",
            "name": "Name there",
            "source": "Found by",
        },
        alt=f"Terms of {len(terms)} labels",
    )
    if is_shipped(run):
        st.caption(SHIPPED_STAYS)
        return
    if not changeable(run):
        st.caption(plain(whose_to_change(run)))
        return
    without_first = sorted(terms, key=lambda label: (terms[label].id, label))
    label = st.selectbox("Label to fix", without_first, key="verdict-label")
    texts = search_texts()
    term = st.selectbox(
        "Its term",
        ["", *texts],
        index=None,
        format_func=lambda key: texts.get(key, "none fits"),
        placeholder="Type a name, a synonym or an id",
        key=f"verdict-term-{label}",
    )
    with st.container(horizontal=True):
        if st.button("Set this term", disabled=term is None, icon=":material/check:", key="verdict-keep"):
            override_terms(run.folder, {label: term or ""})
            st.rerun()
        if term_overrides(run.folder) and st.button("Undo the last change", icon=":material/undo:", key="verdict-undo"):
            undo_override(run.folder)
            st.rerun()
    st.caption("Kept with the run, for everyone who opens it; the labels themselves stay as they are.")
