"""A published reference on Data: choose it, see it, and match the query's genes with it."""

import pandas as pd
import streamlit as st

from labeltransfer.data.intake import Finding, gene_finding, gene_index, other_gene_names
from labeltransfer.errors import RunError
from labeltransfer.runs.library.library import Library
from labeltransfer.runs.library.reference_card import Card
from labeltransfer.runs.records.store import default_store
from pages.data_parts.input_readers import load_summary
from pages.shared.draft import Draft
from pages.shared.frame import catching
from pages.shared.library_view import show_card, take_card


def choose_reference(held: Draft) -> str | None:
    """The choice among published references; returns the path that the chosen one was made from."""
    cards = {card.name: card for card in Library(default_store().root).cards()}
    if not cards:
        st.caption("No reference is published yet.")
        st.page_link("pages/references.py", label="Go to References", icon=":material/arrow_forward:")
        return None
    kept = (held.settings.get("mapping") or {}).get("reference")
    name = st.selectbox(
        "Published reference",
        list(cards),
        index=list(cards).index(kept) if kept in cards else None,
        placeholder="Choose a reference",
        key=held.key("reference-library"),
    )
    if not name:
        return None
    take_card(held, cards[name])
    return cards[name].run_settings().reference.path


def drop_card(held: Draft) -> None:
    """Take a published reference out of a draft: what was its own goes with it."""
    if held.settings.get("mapping"):
        for section in ("integrate", "transfer", "prepare"):
            held.settings.pop(section, None)
        held.change(mapping=None, reference={})


def card_of(held: Draft) -> Card:
    """The published reference that a draft maps its query onto.

    Raises
    ------
    RunError
        It was deleted, or another one has its name by now.
    """
    asked = held.settings["mapping"]
    card = Library(default_store().root).card(asked["reference"])
    if card.digest != asked["digest"]:
        raise RunError(f"Another reference is published as '{card.name}' by now: choose it again.")
    return card


def published_panel(held: Draft) -> list[str]:
    """The reference's side of the Data page where a published one is chosen; returns what is wrong, in words."""
    with catching():
        show_card(card_of(held))
        return []
    return ["the published reference cannot be used"]


def mapped_genes(held: Draft) -> list[Finding]:
    """What the query's genes are worth for the published reference."""
    query = held.settings["query"]
    summary = load_summary(query["path"], query.get("counts", "auto"))
    names = gene_index(summary, query.get("gene_names"))
    return [gene_finding(pd.Index(card_of(held).genes), names, others=other_gene_names(summary))]
