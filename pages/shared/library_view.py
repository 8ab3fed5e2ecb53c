"""Published references on pages: what their card says, how one is published, trained, chosen and deleted."""

import pandas as pd
import streamlit as st

from labeltransfer.data.intake import Finding, gene_finding, gene_index, other_gene_names
from labeltransfer.errors import LabelTransferError, RunError
from labeltransfer.params import PrepareParams
from labeltransfer.presets import PRESETS
from labeltransfer.results.figures.colours import SIDE_COLOURS
from labeltransfer.runs.library.library import Library, check_made_for_it
from labeltransfer.runs.library.reference_card import Card, mapping_params
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import default_store
from pages.shared.draft import Draft, draft, replace_draft
from pages.shared.frame import catching, go, open_run
from pages.shared.input_readers import load_summary
from pages.shared.sign_in import visitor
from pages.shared.start import queue_run
from pages.shared.visible_runs import visible_runs
from pages.shared.widgets import composition_chart, settings_grid
from pages.shared.words import plain, run_title


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
                "Right when held out",
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


def publish_form(library: Library) -> None:
    """Publish one of the finished runs over a reference alone."""
    runs = [run for run in visible_runs() if _is_publishable(run)]
    if not runs:
        st.caption("There is no finished run over a reference alone.")
        return
    titles = {run.id: run_title(run) for run in runs}
    run_id = st.selectbox("Run", list(titles), format_func=lambda i: f"{titles[i]} · {i}", key="publish-run")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Name", key="publish-name", max_chars=63, help="Letters, digits, dots, hyphens, underscores."
        )
        description = st.text_input(
            "Description", key="publish-about", max_chars=500, placeholder="For those who choose"
        )
    replace = st.toggle("Replace a reference of that name", key="publish-replace")
    if st.button("Publish", icon=":material/publish:", disabled=not name) and run_id:
        with catching():
            with st.spinner("Copying the models and the reference's counts."):
                card = library.publish(
                    default_store().run(run_id), name, description=description, by=visitor(), replace=replace
                )
            st.toast(f"Published as {plain(card.name)}.", icon=":material/publish:")
            st.rerun()


def _is_publishable(run: Run) -> bool:
    try:
        check_made_for_it(run.params)
    except LabelTransferError:
        return False
    return run.status().state == "done"


def train_form() -> None:
    """Train the reference that is chosen on the Data page, alone."""
    held = draft()
    side = held.settings["reference"]
    if held.settings.get("mapping") or not (side.get("path") and side.get("labels_key")):
        st.caption("Choose a reference file and its label column on Data first; a query is not needed.")
        st.page_link("pages/data.py", label="Go to Data", icon=":material/arrow_back:")
        return
    kept = held.settings.get("prepare") or {}
    full = bool(held.notes.get("reference_full_length")) or kept.get("length_normalize") == "reference"
    genes = settings_grid(PrepareParams, ("n_top_genes",), kept, held.key("library"), columns=4)
    full = st.toggle("Normalise by gene length", full, key=held.key("library-full"), help="For full-length protocols.")
    counted = held.notes.get("reference_counted") or {}
    st.caption(
        f"{counted.get('n_cells', 0):,} cells with {counted.get('n_labels', 0)} labels, in the preset Atlas reference."
    )
    if st.button("Train the reference", icon=":material/play_arrow:"):
        prepare = {**kept, **genes, "length_normalize": "reference" if full else "none"}
        sections = {name: settings.model_dump(mode="json") for name, settings in PRESETS["atlas"].items()}
        params = held.params(query={"path": ""}, prepare=prepare, last_stage="evaluate", **sections)
        open_run(queue_run(params).id)
        go("pages/train.py")


def choose_for_mapping(card: Card) -> None:
    """Start a draft that maps a query onto a reference; a query that was chosen before stays."""
    held = draft()
    query, notes = held.settings["query"], {k: v for k, v in held.notes.items() if k.startswith("query")}
    fresh = replace_draft(None, **notes)
    fresh.change(query=query)
    take_card(fresh, card)


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


def drop_card(held: Draft) -> None:
    """Take a published reference out of a draft: what was its own goes with it."""
    if held.settings.get("mapping"):
        for section in ("integrate", "transfer", "prepare"):
            held.settings.pop(section, None)
        held.change(mapping=None, reference={})


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
        raise RunError(f"Another reference is published as '{card.name}' by now: choose it anew.")
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


@st.dialog("Delete this reference?", icon=":material/delete:")
def confirm_delete(library: Library, card: Card) -> None:
    """Ask, then delete it."""
    st.write(f"**{plain(card.name)}** is deleted for everybody. Results of runs that were mapped onto it stay.")
    with st.container(horizontal=True):
        if st.button("Delete for good", type="primary"):
            with catching():
                library.delete(card.name, by=visitor())
                st.rerun()
        if st.button("Keep"):
            st.rerun()
