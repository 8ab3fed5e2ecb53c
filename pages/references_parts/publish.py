"""Publish a reference, train one, map a query onto one, delete one."""

import streamlit as st

from labeltransfer.errors import LabelTransferError
from labeltransfer.params import PrepareParams
from labeltransfer.presets import PRESETS
from labeltransfer.runs.library.library import Library, check_made_for_it
from labeltransfer.runs.library.reference_card import Card
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import default_store
from pages.door.sign_in import visitor
from pages.shared.draft import draft, replace_draft
from pages.shared.frame import catching, go, open_run
from pages.shared.library_view import take_card
from pages.shared.start import queue_run
from pages.shared.visible_runs import visible_runs
from pages.shared.widgets import settings_grid
from pages.shared.words import plain, run_title


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
        description = st.text_input("Description", key="publish-about", max_chars=500, placeholder="What it is for")
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
    return observed_status(run).state == "done"


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


@st.dialog("Delete this reference?", icon=":material/delete:")
def confirm_delete(library: Library, card: Card) -> None:
    """Ask, then delete it."""
    st.write(f"**{plain(card.name)}** is deleted for everyone. Results of runs that were mapped onto it stay.")
    with st.container(horizontal=True):
        if st.button("Delete for good", type="primary"):
            with catching():
                library.delete(card.name, by=visitor(), digest=card.digest)
                st.rerun()
        if st.button("Keep"):
            st.rerun()
