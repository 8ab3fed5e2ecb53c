"""Coarser levels of the reference's labels: columns that are found by themselves, and the error to be borne."""

import json
from pathlib import Path

import streamlit as st

from labeltransfer.data import intake
from labeltransfer.params import RunParams
from labeltransfer.results.levels.columns import nested_columns
from pages.data_parts.input_readers import load_summary
from pages.shared.cached import reader, the_path
from pages.shared.draft import Draft
from pages.shared.widgets import setting_input
from pages.shared.words import plain


def levels_choice(held: Draft, path: str, labels_key: str) -> None:
    """Offer the columns that are coarser levels of the labels, and keep the choice; all are taken at first."""
    asked = {name: held.settings["reference"].get(name) for name in ("counts", "filters", "batch_key")}
    found = _found(Path(path), labels_key, json.dumps(asked, sort_keys=True))
    about = f"{path}: {labels_key}"
    if held.notes.get("levels_of") != about:
        if "levels_of" in held.notes or "level_keys" not in held.settings:  # else they are those of an earlier run
            held.change(level_keys=found)
        held.note(levels_of=about)
    kept = [key for key in held.settings.get("level_keys", ()) if key in found]
    with st.container(horizontal=True):
        if found:
            kept = st.multiselect(
                RunParams.model_fields["level_keys"].title or "",
                found,
                kept,
                placeholder="None: families of the Cell Ontology",
                key=held.key(f"levels-{about}"),
                help=f"{RunParams.model_fields['level_keys'].description} Found for '{plain(labels_key)}': all columns "
                "in which each label has one parent.",
            )
        error = setting_input(RunParams, "error_to_bear", held.settings.get("error_to_bear"), held.key("error-to-bear"))
    held.change(level_keys=kept, error_to_bear=error)


@reader(the_path, max_entries=32)
def _found(path: Path, labels_key: str, settings: str) -> list[str]:
    """Columns of a file that are levels of its labels, without those of batches, tissue and sex."""
    asked = json.loads(settings)
    summary = load_summary(str(path), asked["counts"] or "auto")
    rows = intake.filter_rows(summary.obs, asked["filters"] or {})
    rows &= ~intake.is_unlabelled(summary.obs[labels_key])
    guess = intake.guess(summary)
    others = [*guess.batch, guess.tissue, guess.sex, asked["batch_key"]]
    return nested_columns(summary.obs[rows], labels_key, without=[name for name in others if name])
