"""One side of the Data page: its columns, filters, cells and input report."""

import json
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from labeltransfer.data import intake
from labeltransfer.params import Side
from labeltransfer.results.figures.colours import SIDE_COLOURS
from pages.data_parts.choose_file import choose_file
from pages.data_parts.filters import filter_boxes
from pages.data_parts.input_readers import load_summary, report, value_columns
from pages.data_parts.level_columns import levels_choice
from pages.data_parts.published_reference import published_panel
from pages.data_parts.side_settings import about, more_settings
from pages.shared.draft import Draft, draft
from pages.shared.frame import catching
from pages.shared.widgets import composition_chart, optional_select, show_findings
from pages.shared.words import plain

TITLES: dict[Side, str] = {"reference": "Reference", "query": "Query"}
ABOUT: dict[Side, str] = {
    "reference": "Cells whose types are known: the labels come from here.",
    "query": "Cells that are to get labels. Labels that it has already are only compared with, never trained on.",
}


def side_panel(side: Side) -> list[str]:
    """Show one side; returns what is still wrong with it, in words."""
    st.subheader(TITLES[side], help=ABOUT[side], anchor=False)
    path = choose_file(side)
    if path is None:
        return [f"choose the {side}"]
    if side == "reference" and draft().settings.get("mapping"):
        draft().change(level_keys=[])  # those of a file that was chosen before
        return published_panel(draft())
    with catching():
        return _with_file(side, path)
    return [f"the {side}'s file cannot be used"]


def _with_file(side: Side, path: str) -> list[str]:
    held = draft()
    with st.spinner("Reading the cells' annotations."):
        summary = load_summary(path, held.settings[side].get("counts", "auto"))
    _guess_once(side, held, summary)
    labels_key = _label_column(side, held, summary)
    filters = _filters(side, held, summary)
    rows = intake.filter_rows(summary.obs, filters)
    n_unlabelled = 0
    if labels_key is not None:
        unlabelled = intake.is_unlabelled(summary.obs[labels_key])
        n_unlabelled = int((rows & unlabelled).sum())
        rows = _unlabelled_choice(side, held, rows, unlabelled, n_unlabelled)
    _counted(side, held, summary, rows, labels_key)
    if side == "reference" and labels_key is not None:
        levels_choice(held, path, labels_key)
    more_settings(side, held, summary)
    findings = report(path, side, json.dumps(held.settings[side], sort_keys=True))
    st.markdown(
        "**Input report**", help="What was found in this file, with the cells chosen above, and what to do about it."
    )
    show_findings(findings)

    wrong = [f"the {side} has an error in its input report"] if any(f.severity == "error" for f in findings) else []
    if side == "reference" and labels_key is None:
        wrong.append("choose the reference's label column")
    if not rows.any():
        wrong.append(f"no cell of the {side} is left: widen its filters")
    return wrong


def _guess_once(side: Side, held: Draft, summary: intake.Summary) -> None:
    """Fill in what the file's columns suggest, once for each newly chosen file."""
    if held.notes.get(f"{side}_guessed") or held.notes.get(f"{side}_source") == "kept":
        return
    guess = intake.guess(summary)
    now = held.settings[side]
    suggested: dict[str, Any] = {
        "labels_key": now.get("labels_key") or guess.labels_key,
        "technology": now.get("technology") or guess.technology or "",
    }
    held.set_section(side, **suggested)
    held.note(**{f"{side}_guessed": True, f"{side}_full_length": guess.full_length})
    full = {s: held.notes.get(f"{s}_full_length") for s in TITLES}
    if all(held.settings[s].get("path") for s in TITLES) and not held.settings.get("prepare", {}).get("gene_lengths"):
        uneven = full["reference"] != full["query"]
        suggestion = next((s for s, is_full in full.items() if is_full), "none") if uneven else "none"
        held.set_section("prepare", length_normalize=suggestion)


def _label_column(side: Side, held: Draft, summary: intake.Summary) -> str | None:
    options = value_columns(summary.obs)
    kept = held.settings[side].get("labels_key")
    key = optional_select(
        "Label column",
        options,
        kept,
        held.key(f"{side}-labels-{summary.path}"),
        empty="No labels" if side == "query" else "Choose a column",
        about=about("labels_key"),
    )
    held.set_section(side, labels_key=key)
    return key


def _filters(side: Side, held: Draft, summary: intake.Summary) -> dict[str, list[str]]:
    """Tissue and sex first where the file has them, then any column that was added."""
    guess = intake.guess(summary)
    filters = filter_boxes(
        summary.obs,
        ((guess.tissue, "Tissue"), (guess.sex, "Sex")),
        held.settings[side].get("filters", {}),
        lambda name: held.key(f"{side}-{name}-{summary.path}"),
    )
    held.set_section(side, filters=filters)
    return filters


def _unlabelled_choice(
    side: Side, held: Draft, rows: np.ndarray, unlabelled: np.ndarray, n_unlabelled: int
) -> np.ndarray:
    if side == "reference":
        return rows & ~unlabelled
    if not n_unlabelled:
        return rows
    keep = st.toggle(
        f"Keep the {n_unlabelled:,} cells without a label",
        held.settings[side].get("keep_unlabelled", True),
        key=held.key(f"{side}-unlabelled"),
        help=about("keep_unlabelled"),
    )
    held.set_section(side, keep_unlabelled=keep)
    return rows if keep else rows & ~unlabelled


def _counted(side: Side, held: Draft, summary: intake.Summary, rows: np.ndarray, labels_key: str | None) -> None:
    """Live counts and the composition of the chosen cells."""
    n_cells = int(rows.sum())
    counts, n_without = pd.Series(dtype=int), 0
    if labels_key is not None:
        labels = summary.obs[labels_key]
        without = rows & intake.is_unlabelled(labels)
        n_without = int(without.sum())
        counts = labels[rows & ~without].astype(str).value_counts()
        counts = counts[counts > 0]
    held.note(**{f"{side}_counted": {"n_cells": n_cells, "n_labels": len(counts)}})
    with st.container(horizontal=True):
        st.metric(
            "Cells used",
            f"{n_cells:,} of {summary.n_cells:,}",
            help="After the filters, of all cells in the file.",
            width="content",
        )
        st.metric(
            "Genes in the file",
            f"{summary.n_genes:,}",
            help="All genes of this side; the models see only those that both sides have.",
            width="content",
        )
        if labels_key is not None:
            st.metric(
                "Labels",
                f"{len(counts):,}",
                help=f"Different values of '{plain(labels_key)}' in the cells used.",
                width="content",
            )
    if len(counts):
        composition_chart(
            counts,
            unlabelled=n_without,
            colour=SIDE_COLOURS[side],
            alt_text=f"Bar chart: cells per label in the {side}, {n_cells:,} cells.",
        )
