"""Edits of labels by hand: the form for the cells of a tile, and the list with its undo."""

from typing import get_args

import numpy as np
import pandas as pd
import streamlit as st

from labeltransfer.params import Side
from labeltransfer.results.scores.final_labels import LONGEST, Action, Edit, deciding
from labeltransfer.runs.records.edits import add_edit, undo_edit
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import SHIPPED_STAYS, is_shipped
from pages.door.sign_in import visitor
from pages.shared import cached
from pages.shared.visible_runs import may_undo
from pages.shared.words import plain, when

ACTIONS: dict[Action, str] = {
    "accept": "Accept the predicted label",
    "relabel": "Give another label",
    "exclude": "Exclude",
}
ICONS: dict[Action, str] = {
    "accept": ":material/check:",
    "relabel": ":material/edit:",
    "exclude": ":material/block:",
}


def edit_form(run: Run, cells: pd.DataFrame, rows: np.ndarray, side: Side, observed: str, predicted: str) -> None:
    """Decide about the cells of a tile."""
    if is_shipped(run):
        st.caption(SHIPPED_STAYS)
        return
    st.caption(
        "An edit has a name and can be undone. Predictions stay as they are: the label that follows from all edits "
        "is kept next to them, in the column final_label of every download of this run, with the edit and who made it. "
        "Excluded cells stay in the download, without a final label. Everyone who opens this run sees its edits."
    )
    tile = f"{run.id}-{side}-{observed}-{predicted}"
    action: Action = st.segmented_control(
        f"These {len(rows):,} cells",
        list(get_args(Action)),
        default="accept",
        format_func=lambda key: ACTIONS[key],
        required=True,
        key=f"edit-action-{tile}",
    )
    label = {"accept": predicted, "exclude": ""}.get(action)
    if label is None:
        known = [name for name in sorted(cached.colours(run), key=str.lower) if name != "no label"]
        label = st.selectbox(
            "New label",
            known,
            index=known.index(observed) if observed in known else None,
            accept_new_options=True,
            placeholder="Choose a label, or write one",
            key=f"edit-label-{tile}",
            help="Any label of this run, at first the observed one; a new one can be written.",
        )
    said = {"accept": "accepted", "exclude": "excluded"}.get(action, f"now {label}")
    name = st.text_input(
        "Name of the edit",
        f"{observed} → {predicted}: {said}"[:LONGEST],
        max_chars=LONGEST,
        key=f"edit-name-{tile}-{said}",
    )
    if st.button("Keep this edit", icon=ICONS[action], key=f"edit-keep-{tile}", disabled=label is None):
        add_edit(
            run,
            Edit(
                id="",
                name=name,
                action=action,
                label=label or "",
                side=side,
                observed=observed,
                predicted=predicted,
                rows=tuple(rows.tolist()),
                who=visitor().name,
            ),
        )
        st.rerun()


def show_edits(run: Run, n_cells: int) -> None:
    """All edits of a run in order, each with its way back; nothing where there is none."""
    edits = cached.edits(run)
    if not edits:
        return
    st.subheader(
        "Edits",
        anchor=False,
        help="Oldest first; where two are about the same cell, the later one decides. Scores and the matrix above are "
        "those of the predictions, which no edit touches.",
    )
    decides = np.bincount(deciding(edits, n_cells) + 1, minlength=len(edits) + 1)[1:]
    for edit, n_decided in zip(edits, decides.tolist(), strict=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"{ICONS[edit.action]} **{plain(edit.name)}**  \n{edit_words(edit, n_decided)}")
            if may_undo(run, edit.who) and st.button("Undo", icon=":material/undo:", key=f"edit-undo-{edit.id}"):
                undo_edit(run, edit.id, by=visitor().name)
                st.rerun()


def edit_words(edit: Edit, n_decided: int) -> str:
    """What an edit did, to how many cells, by whom and when."""
    done = "excluded" if edit.action == "exclude" else f"called {plain(edit.label)}"
    over = len(edit.rows) - n_decided
    later = f" ({over:,} of them decided again by a later edit)" if over else ""
    who = f" by {plain(edit.who)}" if edit.who else ""
    return f"{len(edit.rows):,} {edit.side} cells {done}{later}{who}, {when(edit.when)}"
