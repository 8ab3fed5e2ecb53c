"""What the Cell Ontology says of observed against predicted labels, as Compare shows it."""

from typing import Any, Literal

import pandas as pd
import streamlit as st

from labeltransfer.params import Side
from labeltransfer.results import matrix, verdicts
from labeltransfer.results.evaluate import Normalize, pair_counts, reference_labels
from labeltransfer.results.label_terms import LabelTerm, read_by_hand, terms_of
from labeltransfer.results.levels import Level, candidates, levels, roll_up
from labeltransfer.results.ontology import Verdict, cell_ontology
from labeltransfer.runs.run import Run
from pages.shared import cached
from pages.shared.frame import catching
from pages.shared.term_table import show_terms

Colour = Literal["share", "verdict"]

COLOURS: dict[Colour, str] = {"share": "Share", "verdict": "Ontology verdict"}
MEANINGS: dict[Verdict, str] = {
    "exact": "the same label, or another name of it",
    "more specific": "the predicted label is a kind of the observed one",
    "more general": "the observed label is a kind of the predicted one",
    "sibling": "both are of one narrow family, such as T cell or myeloid leukocyte",
    "unrelated": "nothing narrower than, say, leukocyte or epithelial cell holds both",
}
AS_LABELLED, OWN_LEVEL = "As labelled", "Terms of my choice"

Stamp = tuple[str, int]
Hand = tuple[tuple[str, str | None], ...]


def colour_choice() -> Colour:
    """Ask what the matrix is coloured by."""
    return st.segmented_control(
        "Colour",
        list(COLOURS),
        default="share",
        format_func=lambda key: COLOURS[key],
        required=True,
        key="compare-colour",
        persist_state="session",
        help="By share, or by how the predicted label stands to the observed one in the Cell Ontology: exact, more "
        "specific, more general, sibling or unrelated.",
    )


def verdict_chart(run: Run, *, side: Side, normalize: Normalize, dark: bool) -> Any:
    """The confusion matrix coloured by verdict, see :func:`.matrix.verdict_chart`."""
    st.caption(
        "Marks: " + ", ".join(f"{mark} {name}" for name, mark in matrix.MARKS.items()).replace("~", "\\~") + ". Tiles "
        "stand in full colour where they hold at least a tenth of what the largest holds."
    )
    return _chart(run, _stamp(run), _hand(run), side, normalize, dark)


def verdict_section(run: Run, side: Side) -> None:
    """The section of Compare: scores that know of kinds, the verdicts counted, and which term each label has."""
    st.subheader(
        "By the Cell Ontology",
        anchor=False,
        help="The Cell Ontology is a dictionary of cell types that says which is a kind of which. Here a prediction "
        "that is finer than the observed label is no error.",
    )
    with catching():
        _section(run, side)


@st.fragment
def _section(run: Run, side: Side) -> None:
    with catching():
        stamp, hand = _stamp(run), _hand(run)
        terms = _terms(run, stamp, hand)
        scores = _scores(run, stamp, hand, side, choose_level(run, terms))
        show_scores(scores, side)
        show_verdicts(scores)
        show_terms(run, terms, _known(run, stamp))


def choose_level(run: Run, terms: dict[str, LabelTerm]) -> Level | None:
    """Ask at which level labels are compared; None as they stand."""
    offered = {level.name: level for level in levels(terms)}
    if not offered:
        st.caption("No two labels of this run are of one kind, so there is no coarser level to compare them at.")
        return None
    chosen = st.selectbox(
        "Compare labels at the level of",
        [AS_LABELLED, *offered, OWN_LEVEL],
        format_func=lambda name: f"{name}: {', '.join(offered[name].groups())}" if name in offered else name,
        key=f"compare-level-{run.id}",
        persist_state="session",
        help="Labels that are kinds of one of these terms count as that term; others stay as they are.",
    )
    if chosen == OWN_LEVEL:
        names = cell_ontology().names
        wanted = st.multiselect(
            "Terms that labels are rolled up to",
            candidates(terms),
            format_func=lambda term: names.get(term, term),
            placeholder="Choose terms",
            key=f"compare-level-terms-{run.id}",
            help="Terms of the Cell Ontology that several labels of this run are kinds of, the broadest first.",
        )
        return Level(OWN_LEVEL, tuple(wanted)) if wanted else None
    return offered.get(chosen)


def show_scores(scores: verdicts.Scores, side: Side) -> None:
    """Accuracy and macro-F1, strict and by kinds, with what they are taken over."""
    kinds = {
        "Strict": (scores.strict, "The predicted label is the observed one, or another name of the same term."),
        "By kinds": (
            scores.aware,
            "A prediction that is a kind of the observed label is right too. Scored are also cells whose label the "
            "reference has only in finer kinds.",
        ),
    }
    with st.container(horizontal=True):
        for name, (score, about) in kinds.items():
            accuracy, f1 = score.accuracy, score.macro_f1
            st.metric(
                f"{name}: {score.n_correct:,} of {score.n_scored:,} {side} cells",
                "–" if accuracy is None else f"{accuracy:.1%}",
                help=about,
                border=True,
            )
            st.metric(
                f"{name}, macro-F1: mean over {score.n_labels} labels",
                "–" if f1 is None else f"{f1:.3f}",
                help=about,
                border=True,
            )
    if scores.share_more_specific is None:
        n_judged = scores.n_cells - scores.unmapped
        st.markdown(f"No predicted label differs from the observed one in the {n_judged:,} cells that can be judged.")
        return
    n_finer = scores.verdicts["more specific"]
    st.markdown(
        f"Of the **{scores.n_differ:,}** cells whose label differs from the observed one, "
        f"**{scores.share_more_specific:.1%}** ({n_finer:,}) were given a more specific one: a subset of what was "
        "observed."
    )


def show_verdicts(scores: verdicts.Scores) -> None:
    """Cells by verdict, of all that have an observed label."""
    told: list[tuple[str, int, str]] = [(verdict, n, MEANINGS[verdict]) for verdict, n in scores.verdicts.items()]
    told.append((matrix.NO_VERDICT, scores.unmapped, "the labels differ, and one of them has no term"))
    rows = [(matrix.MARKS[verdict], verdict, n, meaning) for verdict, n, meaning in told]
    table = pd.DataFrame(rows, columns=["Mark", "Verdict", "Cells", "Meaning"])
    table.insert(3, "Share", table["Cells"] / max(scores.n_cells, 1))
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "Mark": st.column_config.TextColumn("", width=30),
            "Cells": st.column_config.NumberColumn(format="localized"),
            "Share": st.column_config.NumberColumn(
                format="percent", help=f"Of {scores.n_cells:,} cells with an observed label."
            ),
        },
        alt="Number and share of cells by verdict",
    )


def _stamp(run: Run) -> Stamp:
    path = run.artefact("evaluate", "cells.parquet")
    return str(path), path.stat().st_mtime_ns


def _hand(run: Run) -> Hand:
    return tuple(sorted(read_by_hand(run.folder)[0].items()))


# A run is named by the stamp of its table; the run itself says where to read.


@st.cache_resource(max_entries=32, show_spinner=False)
def _terms(_run: Run, stamp: Stamp, hand: Hand) -> dict[str, LabelTerm]:
    return terms_of(cached.cells(_run), by_hand=dict(hand))


@st.cache_resource(max_entries=32, show_spinner=False)
def _pairs(_run: Run, stamp: Stamp, side: Side) -> pd.DataFrame:
    return pair_counts(cached.cells(_run), side=side)


@st.cache_resource(max_entries=32, show_spinner=False)
def _known(_run: Run, stamp: Stamp) -> list[str]:
    return reference_labels(cached.cells(_run))


@st.cache_resource(max_entries=128, show_spinner=False)
def _scores(_run: Run, stamp: Stamp, hand: Hand, side: Side, level: Level | None) -> verdicts.Scores:
    labels = _pairs(_run, stamp, side), _terms(_run, stamp, hand), _known(_run, stamp)
    return verdicts.score(*(roll_up(*labels, level) if level else labels))


@st.cache_resource(max_entries=32, show_spinner=False)
def _chart(_run: Run, stamp: Stamp, hand: Hand, side: Side, normalize: Normalize, dark: bool) -> Any:
    terms, table = _terms(_run, stamp, hand), cached.confusion(_run, side=side, normalize=normalize)
    pairs = zip(table["observed_label"], table["predicted_label"], strict=True)
    told = pd.Series([verdicts.verdict_of(observed, predicted, terms) for observed, predicted in pairs], table.index)
    return matrix.verdict_chart(table.assign(verdict=told), normalize=normalize, dark=dark)
