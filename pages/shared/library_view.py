"""A published reference on pages: what its card says, and how a draft takes it."""

import pandas as pd
import streamlit as st

from labeltransfer.results.figures.colours import SIDE_COLOURS
from labeltransfer.runs.library.reference_card import Card, mapping_params
from pages.shared.draft import Draft
from pages.shared.widgets import composition_chart
from pages.shared.words import plain


def show_card(card: Card) -> None:
    """What a published reference is: cells, labels, genes, and how well its scANVI does on its own held-out cells."""
    if card.description:
        st.markdown(plain(card.description))
    scores = card.scores
    with st.container(horizontal=True):
        st.metric(
            "Cells", f"{card.n_cells:,}", help=f"From {plain(card.file)}, {plain(card.technology)}.", width="content"
        )
        st.metric("Labels", f"{len(card.labels):,}", width="content")
        st.metric(
            "Genes",
            f"{len(card.genes):,} of {card.n_genes:,}",
            help="Genes that its models see. A query is matched to them by name; it needs at least half.",
            width="content",
        )
        if scores["n_cells"]:
            st.metric(
                "Held-out accuracy",
                f"{scores['accuracy']:.1%}",
                help=f"Of {scores['n_cells']:,} reference cells that scANVI was not trained on. It says nothing of "
                "another technology.",
                width="content",
            )
    composition_chart(
        pd.Series(card.labels, dtype=int),
        unlabelled=0,
        colour=SIDE_COLOURS["reference"],
        alt_text=f"Bar chart: cells per label in the published reference, {card.n_cells:,} cells.",
    )


def take_card(held: Draft, card: Card) -> None:
    """Put a published reference into a draft, in place of a reference file."""
    if (held.settings.get("mapping") or {}).get("digest") == card.digest:
        return
    kept = held.settings.get("prepare") or {}
    own = {name: kept[name] for name in ("max_query_cells", "gene_lengths") if name in kept}
    full = "query" if held.notes.get("query_full_length") else "none"
    held.change(**mapping_params(card), prepare=own | {"length_normalize": full})
    held.note(
        reference_source="library",
        reference_full_length=None,
        reference_guessed=True,
        reference_counted={"n_cells": card.n_cells, "n_labels": len(card.labels)},
    )
